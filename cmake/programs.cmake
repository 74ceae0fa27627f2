# Packages that the server and lossctl need beside those of the libraries.
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
# By pkg-config: Debian's CMake files of libzip ask for programs of other packages.
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBZIP REQUIRED IMPORTED_TARGET libzip)
# jemalloc for the programs. The C library's malloc keeps up to 32 MiB on top of an arena for ever, and
# gives other memory back that the next message asks for again. A sanitizer brings its own.
add_library(lossd_allocator OBJECT cmake/allocator.cc)
if(NOT LOSSD_SANITIZE)
  pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)
  target_link_libraries(lossd_allocator PUBLIC PkgConfig::JEMALLOC)
endif()
if(LOSSD_ARCHIVES)
  include(cmake/archives.cmake)
  lossd_prefer_archives()
endif()
