import CIVG
import Glibc

/// The process-wide log sink. Silent until a host sets one.
///
/// The lock is held while a sink writes, so that a finalizer never runs under a call to its sink.
final class Log: @unchecked Sendable {
  struct Sink {
    let level: Int32
    let write: ivg_log_fn
    let userData: UnsafeMutableRawPointer?
    let finalizer: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?
  }

  static let shared = Log()

  private let lock: UnsafeMutablePointer<pthread_mutex_t>
  private var sink: Sink?

  private init() {
    lock = .allocate(capacity: 1)
    pthread_mutex_init(lock, nil)
  }

  static func info(_ message: @autoclosure () -> String) {
    shared.write(Int32(IVG_LOG_INFO), message)
  }

  private func write(_ level: Int32, _ message: () -> String) {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    guard let sink, level <= sink.level else { return }
    message().withCString { sink.write(sink.userData, level, $0) }
  }

  /// Puts `new` in place of the sink, whose finalizer is called.
  func replace(with new: Sink?) {
    pthread_mutex_lock(lock)
    let old = sink
    sink = new
    pthread_mutex_unlock(lock)
    if let old { old.finalizer?(old.userData) }
  }
}

@_cdecl("ivg_log_set") @implementation
public func ivg_log_set(
  _ level: Int32, _ sink: ivg_log_fn?, _ user_data: UnsafeMutableRawPointer?,
  _ finalizer: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?
) {
  Log.shared.replace(
    with: sink.map {
      Log.Sink(level: level, write: $0, userData: user_data, finalizer: finalizer)
    })
}
