# The libraries for C++ projects, by CMake (find_package) and pkg-config, and the programs.
include(CMakePackageConfigHelpers)
install(TARGETS lossd_core EXPORT lossdCoreTargets)
install(TARGETS lossd_client lossd_codec lossd_proto EXPORT lossdClientTargets)
install(DIRECTORY core DESTINATION ${LOSSD_INCLUDES} FILES_MATCHING PATTERN "*.h"
        PATTERN "*-inl.h" EXCLUDE)
install(DIRECTORY client/cpp/lossd DESTINATION ${LOSSD_INCLUDES})
if(LOSSD_PROGRAMS)
  install(TARGETS lossd lossctl)
endif()
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/lossd)
foreach(component Core Client)
  install(EXPORT lossd${component}Targets NAMESPACE lossd:: DESTINATION ${package})
endforeach()
configure_package_config_file(cmake/lossdConfig.cmake.in ${PROJECT_BINARY_DIR}/lossdConfig.cmake
                              INSTALL_DESTINATION ${package})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/lossdConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
# Where it is installed to is said only then.
file(RELATIVE_PATH LOSSD_PREFIX_FROM_PC /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/lossd.pc.in ${PROJECT_BINARY_DIR}/lossd.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/lossdConfig.cmake ${PROJECT_BINARY_DIR}/lossdConfigVersion.cmake
        DESTINATION ${package})
install(FILES ${PROJECT_BINARY_DIR}/lossd.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
