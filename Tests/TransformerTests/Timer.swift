import Glibc
import Transformer

/// A thread that raises a flag after a while.
final class Timer {
  private let flag: CancelFlag
  private let microseconds: UInt32
  private var thread = pthread_t()

  init(after microseconds: UInt32, _ flag: CancelFlag) throws {
    self.flag = flag
    self.microseconds = microseconds
    let status = pthread_create(
      &thread, nil,
      { argument in
        let timer = Unmanaged<Timer>.fromOpaque(argument!).takeRetainedValue()
        usleep(timer.microseconds)
        timer.flag.raise()
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    precondition(status == 0)
  }

  func join() { pthread_join(thread, nil) }
}
