/// The 256 printable characters in which byte-level vocabularies write bytes: printable Latin-1
/// stands for itself, the 68 other bytes are U+0100 and up, in order (a space is `Ġ`, a newline
/// `Ċ`).
///
/// Threads: a plain constant table, shareable.
struct ByteAlphabet: Sendable {
  /// Highest code point of the alphabet plus one.
  static let limit = 0x144

  /// Code point → byte, or `none`; `limit` entries.
  private let byteOfScalar: [UInt16]

  /// Marks a code point outside the alphabet.
  private static let none: UInt16 = 0xFFFF

  /// Builds the table (324 entries; cheap).
  init() {
    var table = [UInt16](repeating: Self.none, count: Self.limit)
    var next = 0x100
    for byte in 0..<256 {
      let printable =
        (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE
      if printable {
        table[byte] = UInt16(byte)
      } else {
        table[next] = UInt16(byte)
        next += 1
      }
    }
    byteOfScalar = table
  }

  /// Writes the bytes that `text` spells to `output` and returns how many, or nil when `text` holds
  /// anything that is not a character of the alphabet. `output` has room for `text.count` bytes;
  /// after nil its content is meaningless.
  @inline(__always)
  func decode(_ text: UnsafeRawBufferPointer, to output: UnsafeMutablePointer<UInt8>) -> Int? {
    byteOfScalar.withUnsafeBufferPointer { table in
      var written = 0
      var position = 0
      while position < text.count {
        let lead = text[position]
        if lead > 0x20 && lead < 0x7F {
          output[written] = lead
          position += 1
        } else {
          // The alphabet ends at U+0143: two bytes, lead C2…C5.
          guard lead >= 0xC2, lead <= 0xC5, position + 1 < text.count else { return nil }
          let trail = text[position + 1]
          guard trail & 0xC0 == 0x80 else { return nil }
          let scalar = Int(lead & 0x1F) << 6 | Int(trail & 0x3F)
          guard scalar < Self.limit, table[scalar] != Self.none else { return nil }
          output[written] = UInt8(truncatingIfNeeded: table[scalar])
          position += 2
        }
        written += 1
      }
      return written
    }
  }
}
