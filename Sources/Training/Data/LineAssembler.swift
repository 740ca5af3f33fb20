import Glibc

/// Makes lines out of blocks of bytes.
///
/// Copies only what lies across blocks; of a line that is too long it keeps nothing. A byte order
/// mark at the very beginning is no part of the first line.
struct LineAssembler {
  private let maximumLength: Int

  /// The beginning of a line that no block has ended yet.
  private var carry: [UInt8] = []

  /// Whether that line is too long already; then `carry` is empty.
  private var isTooLong = false

  /// The number of the line that is being read, and where it begins.
  private var number = 1
  private var start = 0

  /// How many bytes there have been.
  private var offset = 0

  /// Lines have at most `maximumLength` bytes, without their end.
  init(maximumLength: Int) {
    self.maximumLength = maximumLength
  }

  /// Takes the next bytes; calls `body` with each line that they end.
  mutating func take(_ block: UnsafeRawBufferPointer, _ body: (ScannedLine) -> Void) {
    var first = 0
    while let end = Self.newline(in: block, from: first) {
      emit(UnsafeRawBufferPointer(rebasing: block[first..<end]), body)
      first = end + 1
      start = offset + first
      number += 1
    }
    keep(UnsafeRawBufferPointer(rebasing: block[first...]))
    offset += block.count
  }

  /// Calls `body` with the last line if it has no end.
  mutating func finish(_ body: (ScannedLine) -> Void) {
    guard offset > start else { return }
    emit(UnsafeRawBufferPointer(start: nil, count: 0), body)
    start = offset
  }

  /// Ends a line with `rest`.
  private mutating func emit(_ rest: UnsafeRawBufferPointer, _ body: (ScannedLine) -> Void) {
    if carry.isEmpty && !isTooLong {
      emitWhole(rest, body)
    } else {
      keep(rest)
      if isTooLong {
        body(ScannedLine(number: number, offset: start, bytes: nil))
      } else {
        carry.withUnsafeBytes { emitWhole($0, body) }
      }
    }
    carry.removeAll(keepingCapacity: true)
    isTooLong = false
  }

  private func emitWhole(_ bytes: UnsafeRawBufferPointer, _ body: (ScannedLine) -> Void) {
    let mark = number == 1 && bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    let isFine = bytes.count <= maximumLength
    body(
      ScannedLine(
        number: number, offset: start + mark,
        bytes: isFine ? UnsafeRawBufferPointer(rebasing: bytes[mark...]) : nil))
  }

  /// Keeps bytes of a line that goes on.
  private mutating func keep(_ bytes: UnsafeRawBufferPointer) {
    guard !isTooLong else { return }
    if bytes.count > maximumLength - carry.count {
      isTooLong = true
      carry = []
    } else {
      carry.append(contentsOf: bytes)
    }
  }

  private static func newline(in bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
    guard start < bytes.count, let base = bytes.baseAddress else { return nil }
    guard let found = memchr(base + start, 0x0A, bytes.count - start) else { return nil }
    return UnsafeRawPointer(found) - base
  }
}
