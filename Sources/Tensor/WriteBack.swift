import CIVGKernels

/// Keeps a file that is written in order close to the disk, so that the sync at its end has little left to do.
package struct WriteBack {
  /// Bytes that are sent to the disk at a time.
  private static let portion: Int64 = 8 << 20
  /// Portions that may be on their way.
  private static let depth: Int64 = 4

  /// Bytes that were written, and that were sent.
  private var written: Int64 = 0
  private var sent: Int64 = 0

  package init() {}

  /// Notes that `count` bytes were appended to the file.
  package mutating func note(_ count: Int, descriptor: Int32) {
    written += Int64(count)
    while written - sent >= Self.portion {
      civg_write_back(descriptor, sent, Self.portion, 0)
      let old = sent - Self.depth * Self.portion
      if old >= 0 { civg_write_back(descriptor, old, Self.portion, 1) }
      sent += Self.portion
    }
  }
}
