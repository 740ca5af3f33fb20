/// Strings as Python's methods treat them, on bytes.
enum ChatText {
  /// `text` without white space at both ends: `str.strip()`, and Jinja's `trim`. A byte that is no UTF-8 is none.
  static func trimmed(_ text: [UInt8]) -> [UInt8] {
    text.withUnsafeBytes { bytes in
      var start = 0
      while start < bytes.count,
        let (scalar, length) = decodeScalar(bytes, at: start, end: bytes.count), isSpace(scalar)
      {
        start += length
      }
      var end = bytes.count
      while end > start, let length = lengthOfSpace(bytes, endingAt: end) { end -= length }
      return Array(bytes[start..<max(end, start)])
    }
  }

  /// `text` without newlines at its beginning and its end, as asked.
  static func withoutNewlines(
    _ text: ArraySlice<UInt8>, atStart: Bool, atEnd: Bool
  ) -> ArraySlice<UInt8> {
    var text = text
    while atStart, text.first == UInt8(ascii: "\n") { text = text.dropFirst() }
    while atEnd, text.last == UInt8(ascii: "\n") { text = text.dropLast() }
    return text
  }

  /// Where `part` begins in `text`, the first or the last time.
  static func position(of part: String, in text: ArraySlice<UInt8>, last: Bool) -> Int? {
    let part = Array(part.utf8)
    guard text.count >= part.count else { return nil }
    let places = text.startIndex...(text.endIndex - part.count)
    return last
      ? places.last { text[$0...].starts(with: part) }
      : places.first { text[$0...].starts(with: part) }
  }

  private static func lengthOfSpace(_ text: UnsafeRawBufferPointer, endingAt end: Int) -> Int? {
    for length in 1...3 where length <= end {
      if let (scalar, count) = decodeScalar(text, at: end - length, end: end), count == length {
        return isSpace(scalar) ? length : nil
      }
    }
    return nil
  }

  /// Python's `str.isspace`.
  private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F,
      0x205F, 0x3000:
      return true
    default: return false
    }
  }
}
