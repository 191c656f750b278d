import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load

required_conan_version = ">=2.4"


class FastpoolConan(ConanFile):
    name = "fastpool"
    description = "A high-performance HTTP client connection pool"
    topics = ("http", "client", "connection-pool", "tls")
    license = "Apache-2.0"
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False], "fPIC": [True, False], "decode": [True, False]}
    default_options = {"shared": False, "fPIC": True, "decode": False}
    implements = ["auto_shared_fpic"]

    @property
    def _root(self):
        return os.path.join(self.recipe_folder, "..", "..")

    def set_version(self):
        header = load(self, os.path.join(self._root, "include", "fastpool", "version.h"))
        self.version = ".".join(re.findall(r"#define FASTPOOL_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header))

    def export_sources(self):
        for pattern in ("CMakeLists.txt", "LICENSE", "cmake/*", "include/*", "src/*"):
            copy(self, pattern, self._root, self.export_sources_folder)

    def validate(self):
        check_min_cppstd(self, 20)

    def requirements(self):
        self.requires("openssl/[>=3.0 <4]")
        self.requires("libnghttp2/[>=1.52 <2]")
        # Headers that only the library's own sources include.
        self.requires("boost/[>=1.74]", headers=True, libs=False, transitive_headers=False, transitive_libs=False)
        if self.options.decode:
            self.requires("brotli/[>=1.0 <2]")
            self.requires("zlib/[>=1.2.11 <2]")
            self.requires("zstd/[>=1.4 <2]")

    def layout(self):
        cmake_layout(self)

    def generate(self):
        CMakeDeps(self).generate()
        toolchain = CMakeToolchain(self)
        toolchain.user_presets_path = False  # leaves the checkout as it is
        toolchain.cache_variables["FASTPOOL_DECODE"] = bool(self.options.decode)
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        CMake(self).install()

    def package_info(self):
        # The package files that CMake installs are the ones that every other user of the library finds.
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = [os.path.join("lib", "cmake", "fastpool")]
        self.cpp_info.set_property("pkg_config_name", "fastpool")
        self.cpp_info.libs = ["fastpool_decode", "fastpool"] if self.options.decode else ["fastpool"]
        self.cpp_info.system_libs = ["pthread", "dl"] if self.settings.os == "Linux" else []
        if self.options.shared:
            self.cpp_info.defines = ["FASTPOOL_SHARED"]
