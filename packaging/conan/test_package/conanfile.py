import os

from conan import ConanFile
from conan.tools.build import can_run
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout


class FastpoolTestConan(ConanFile):
    settings = "os", "arch", "compiler", "build_type"

    @property
    def _decode(self):
        return bool(self.dependencies["fastpool"].options.decode)

    def requirements(self):
        self.requires(self.tested_reference_str)

    def layout(self):
        cmake_layout(self)

    def generate(self):
        CMakeDeps(self).generate()
        toolchain = CMakeToolchain(self)
        toolchain.user_presets_path = False  # leaves the checkout as it is
        toolchain.cache_variables["DECODE"] = self._decode
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def test(self):
        if can_run(self):
            for program in ("test_package", "test_decode") if self._decode else ("test_package",):
                self.run(os.path.join(self.cpp.build.bindir, program), env="conanrun")
