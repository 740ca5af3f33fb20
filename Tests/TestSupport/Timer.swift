import Glibc

/// A thread that does something after a while, such as raising a flag.
package final class Timer {
  private let action: @Sendable () -> Void
  private let microseconds: UInt32
  private var thread = pthread_t()

  package init(after microseconds: UInt32, _ action: @escaping @Sendable () -> Void) {
    self.action = action
    self.microseconds = microseconds
    let status = pthread_create(
      &thread, nil,
      { argument in
        let timer = Unmanaged<Timer>.fromOpaque(argument!).takeRetainedValue()
        usleep(timer.microseconds)
        timer.action()
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    precondition(status == 0)
  }

  package func join() { pthread_join(thread, nil) }
}
