import Tensor

/// Reads a mapped file from front to back; every read is checked against the end of the file.
///
/// Each method names the field it reads, so that the error says what was cut off and where.
struct GGUFCursor {
  let mapping: FileMapping
  /// Position of the next byte, in `0 ... mapping.count`.
  private(set) var position = 0

  init(_ mapping: FileMapping) {
    self.mapping = mapping
  }

  /// Bytes between the position and the end of the file.
  var remaining: Int { mapping.count - position }

  /// An error about this file: "path: message".
  func failure(_ kind: IVGError.Kind, _ message: String) -> IVGError {
    IVGError(kind, "\(mapping.path): \(message)")
  }

  /// The next little-endian integer. Throws `.corruptFile` at the end of the file.
  @inline(__always)
  mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(
    _ type: T.Type, _ field: @autoclosure () -> String
  ) throws(IVGError) -> T {
    guard let value = mapping.load(at: position, as: type) else {
      throw truncated(field(), needed: UInt64(MemoryLayout<T>.size))
    }
    position += MemoryLayout<T>.size  // within the file, as the load succeeded
    return value
  }

  /// The next count (64 bits), which may be at most `limit` and must leave room in the file for
  /// that many items of at least `minimumSize` bytes. Throws `.corruptFile` otherwise.
  mutating func count(
    limit: Int, minimumSize: Int, _ field: @autoclosure () -> String
  ) throws(IVGError) -> Int {
    let value = try integer(UInt64.self, field())
    guard value <= UInt64(limit) else {
      throw failure(.corruptFile, "\(field()) is \(value); the limit is \(limit)")
    }
    guard value <= UInt64(remaining / minimumSize) else {
      throw failure(
        .corruptFile,
        "\(field()) is \(value), but the \(remaining) bytes that follow hold at most "
          + "\(remaining / minimumSize)")
    }
    return Int(value)
  }

  /// The next string: a length of 64 bits, then that many bytes, borrowed from the mapping. Throws
  /// `.corruptFile` if it is longer than `limit` or than the rest of the file.
  @inline(__always)
  mutating func string(
    limit: Int, _ field: @autoclosure () -> String
  ) throws(IVGError) -> UnsafeRawBufferPointer {
    let length = try integer(UInt64.self, field() + " (length)")
    guard length <= UInt64(limit) else {
      throw failure(
        .corruptFile, "\(field()) has a length of \(length) bytes; the limit is \(limit)")
    }
    guard let bytes = mapping.bytes(at: position, count: Int(length)) else {
      throw truncated(field(), needed: length)
    }
    position += Int(length)  // within the file, as `bytes` succeeded
    return bytes
  }

  /// Steps over `size` bytes. Throws `.corruptFile` at the end of the file.
  mutating func skip(_ size: Int, _ field: @autoclosure () -> String) throws(IVGError) {
    guard size <= remaining else { throw truncated(field(), needed: UInt64(size)) }
    position += size
  }

  private func truncated(_ field: String, needed: UInt64) -> IVGError {
    failure(
      .corruptFile,
      "\(field) needs \(needed) bytes at offset \(position), but the file ends at \(mapping.count)")
  }
}
