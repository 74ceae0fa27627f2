// A control: two threads that race on purpose. The thread sanitizer must end this program with an
// error; otherwise its other verdicts would mean nothing.
#include <cstdio>
#include <thread>

int main() {
  int shared = 0;
  std::thread other([&shared] {
    for (int i = 0; i < 1000; ++i) ++shared;
  });
  for (int i = 0; i < 1000; ++i) ++shared;
  other.join();
  std::printf("%d\n", shared);
  return 0;
}
