"""The C++ interface beside libcurl, cpp-httplib and Boost.Beast."""
