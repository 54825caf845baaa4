# Compile and link flags shared by every target.
add_compile_options(-Wall -Wextra -Werror -Wno-missing-field-initializers -fno-plt -fvisibility=hidden)
add_link_options(-fuse-ld=mold -Wl,--as-needed)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 14 reports these inside Asio's and the standard library's inlined code.
  add_compile_options(-Wno-maybe-uninitialized -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread
                      -Wno-restrict -Wno-dangling-reference)
endif()

if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  if(SPILLWAY_SANITIZE)
    add_compile_options(-O1 -g1 -fno-omit-frame-pointer)
  else()
    add_compile_options(-O0 -g1 -fno-omit-frame-pointer)
  endif()
else()
  add_compile_options(-O2 -g1 -fno-omit-frame-pointer)
endif()

if(SPILLWAY_SANITIZE)
  add_compile_options(-fsanitize=${SPILLWAY_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SPILLWAY_SANITIZE})
  if(SPILLWAY_SANITIZE STREQUAL "thread")
    add_link_options(-Wl,--version-script=${CMAKE_SOURCE_DIR}/tests/tsan.map)
  endif()
  if(SPILLWAY_FUZZ_COVERAGE)
    add_compile_options(-fsanitize=fuzzer-no-link)
  endif()
endif()

# A binary linked against the cached root's glibc starts from the host's shell because it names
# that root's loader and libraries. DT_RPATH, not DT_RUNPATH: libraries of libraries need it too.
if(SPILLWAY_RUNTIME_ROOT)
  set(_lib ${SPILLWAY_RUNTIME_ROOT}/usr/lib/x86_64-linux-gnu)
  add_link_options(-Wl,--dynamic-linker=${SPILLWAY_RUNTIME_ROOT}/usr/lib64/ld-linux-x86-64.so.2
                   -Wl,--disable-new-dtags -Wl,-rpath,${_lib})
  set(CMAKE_SKIP_RPATH ON)
endif()
