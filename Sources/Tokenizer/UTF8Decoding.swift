/// The code point that begins at `position` and its length in bytes; nil when no valid UTF-8
/// sequence that ends before `end` begins there (overlong forms, surrogates and cut-off sequences
/// are invalid).
///
/// `position` is below `end`, and `end` at most `text.count`.
@inline(__always)
package func decodeScalar(
  _ text: UnsafeRawBufferPointer, at position: Int, end: Int
) -> (scalar: Unicode.Scalar, length: Int)? {
  let lead = text[position]
  if lead < 0x80 { return (Unicode.Scalar(lead), 1) }
  let length: Int
  var value: UInt32
  switch lead {
  case 0xC2...0xDF: (length, value) = (2, UInt32(lead & 0x1F))
  case 0xE0...0xEF: (length, value) = (3, UInt32(lead & 0x0F))
  case 0xF0...0xF4: (length, value) = (4, UInt32(lead & 0x07))
  default: return nil
  }
  guard length <= end &- position else { return nil }
  for offset in 1..<length {
    let trail = text[position &+ offset]
    guard trail & 0xC0 == 0x80 else { return nil }
    value = value << 6 | UInt32(trail & 0x3F)
  }
  // Overlong forms (C0 and C1 are excluded above), surrogates, and beyond U+10FFFF.
  guard length == 2 || value >= (length == 3 ? 0x800 : 0x10000),
    let scalar = Unicode.Scalar(value)
  else { return nil }
  return (scalar, length)
}

/// The code point that ends before `position`, and its length in bytes; nil at the beginning, or where no valid UTF-8
/// sequence ends.
func decodeScalar(
  _ text: UnsafeRawBufferPointer, endingAt position: Int
) -> (scalar: Unicode.Scalar, length: Int)? {
  guard position > 0 else { return nil }
  for length in 1...min(4, position) {
    if let found = decodeScalar(text, at: position - length, end: position), found.length == length
    {
      return found
    }
  }
  return nil
}
