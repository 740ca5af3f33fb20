import GGUF
import Glibc
import Tensor

/// Reads a regular file line by line, in memory that the longest allowed line bounds.
///
/// The file is read, never mapped: what another process does to it can give other bytes or an
/// error, not a signal. A descriptor is held, so that a file renamed over the path changes nothing.
///
/// Ownership: owns the descriptor. Threads: immutable; calls may overlap.
final class LineReader: Sendable {
  /// The longest line, without its end, in bytes. Longer ones are passed over.
  static let maximumLength = 1 << 24

  /// How much is read at once.
  private static let blockSize = 1 << 20

  /// Larger files have offsets that `DataFile` has no room for.
  static let maximumFileSize = 1 << 48

  /// The path as the caller wrote it, for messages.
  let path: String

  private let descriptor: Int32
  private let size: Int
  private let changed: (seconds: Int, nanoseconds: Int)

  /// Opens the file at `path`.
  ///
  /// Throws `.notFound` if there is none, and `.io` if it cannot be opened or is no regular file (a
  /// folder, a pipe, a device); `.unsupported` if it is beyond `maximumFileSize`.
  init(path: String) throws(IVGError) {
    guard !path.isEmpty, !path.utf8.contains(0) else {
      throw IVGError(.notFound, "\(quoted(path)) is no path")
    }
    // O_NONBLOCK: opening a pipe that nobody writes to must fail below, not wait here.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      let code = errno
      let kind: IVGError.Kind = code == ENOENT || code == ENOTDIR ? .notFound : .io
      throw IVGError(kind, "\(path): cannot open: \(systemMessage(code))")
    }
    self.path = path
    self.descriptor = descriptor
    var status = stat()
    let code = fstat(descriptor, &status) == 0 ? 0 : errno
    size = Int(status.st_size)
    changed = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
    // From here on `deinit` closes.
    guard code == 0 else {
      throw IVGError(.io, "\(path): cannot read its size: \(systemMessage(code))")
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw IVGError(.io, "\(path): not a regular file")
    }
    guard size < Self.maximumFileSize else {
      throw IVGError(.unsupported, "\(path): \(size) bytes are too many")
    }
  }

  deinit { close(descriptor) }

  /// Calls `body` with each line in turn, the last one with or without an end, and returns the
  /// `ContentHash` of the file.
  ///
  /// Throws `.io`; `.mismatch` if the file changed meanwhile; `.cancelled` when `cancel`, which is
  /// asked before every block, says so.
  func scan(cancel: () -> Bool, _ body: (ScannedLine) -> Void) throws(IVGError) -> UInt64 {
    var block = [UInt8](repeating: 0, count: Self.blockSize)
    var lines = LineAssembler(maximumLength: Self.maximumLength)
    var hash = ContentHash()
    var offset = 0
    while true {
      if cancel() { throw IVGError(.cancelled, "\(path): cancelled while reading") }
      let count = try read(into: &block, at: offset)
      block.withUnsafeBytes { bytes in
        let bytes = UnsafeRawBufferPointer(rebasing: bytes[..<count])
        hash.update(bytes)
        lines.take(bytes, body)
      }
      offset += count
      if count < block.count { break }
    }
    lines.finish(body)
    try checkUnchanged()
    return hash.value
  }

  /// The line that begins at `offset`, without its end. Throws `.io`; `.mismatch` if the file has
  /// changed so that there is none.
  func line(at offset: Int) throws(IVGError) -> [UInt8] {
    try checkUnchanged()
    var count = 1 << 14
    while true {
      var bytes = [UInt8](repeating: 0, count: min(count, Self.maximumLength + 1))
      let got = try read(into: &bytes, at: offset)
      if let end = bytes[..<got].firstIndex(of: UInt8(ascii: "\n")) {
        return Array(bytes[..<end])
      }
      if got < bytes.count { return Array(bytes[..<got]) }
      guard bytes.count <= Self.maximumLength else { throw changedError }
      count *= 8
    }
  }

  /// That the file is not what it was.
  var changedError: IVGError {
    IVGError(.mismatch, "\(path): the file has changed since training began to read it")
  }

  /// Throws `.mismatch` if the file's size or time is another than when it was opened.
  private func checkUnchanged() throws(IVGError) {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw IVGError(.io, "\(path): cannot read its size: \(systemMessage(errno))")
    }
    guard Int(status.st_size) == size, status.st_mtim.tv_sec == changed.seconds,
      status.st_mtim.tv_nsec == changed.nanoseconds
    else { throw changedError }
  }

  /// Fills `bytes` from `offset` on; returns how many there were before the file's end.
  private func read(into bytes: inout [UInt8], at offset: Int) throws(IVGError) -> Int {
    var count = 0
    var code: Int32 = 0
    bytes.withUnsafeMutableBytes { bytes in
      while count < bytes.count {
        let rest = UnsafeMutableRawBufferPointer(rebasing: bytes[count...])
        let got = pread(descriptor, rest.baseAddress, rest.count, off_t(offset + count))
        if got > 0 {
          count += got
        } else if got == 0 {
          return
        } else if errno != EINTR {
          code = errno
          return
        }
      }
    }
    guard code == 0 else { throw IVGError(.io, "\(path): cannot read: \(systemMessage(code))") }
    return count
  }
}
