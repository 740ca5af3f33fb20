/// Reads a stretch of text character by character for the pre-tokenizers. A byte that is no UTF-8
/// counts as one character of kind `other`.
///
/// Ownership: borrows the text. Threads: a value without state.
struct ScalarScanner {
  /// One character: its kind, its bytes, and the byte itself when it is ASCII (else 0x80).
  struct Glyph {
    /// What the rules see; `end` beyond the stretch.
    var kind: ScalarKind
    /// ASCII value, 0x80 for everything else.
    var byte: UInt8
    /// Length in bytes; zero beyond the stretch.
    var length: Int
  }

  /// The whole text.
  let text: UnsafeRawBufferPointer

  /// Where the stretch ends; characters beyond do not exist for the rules.
  let end: Int

  /// The character at `position`, which is at least zero.
  @inline(__always)
  func glyph(at position: Int) -> Glyph {
    guard position < end else { return Glyph(kind: .end, byte: 0x80, length: 0) }
    let byte = text[position]
    if byte < 0x80 { return Glyph(kind: ScalarKind(ascii: byte), byte: byte, length: 1) }
    return wideGlyph(at: position)
  }

  /// The character beyond ASCII at `position`.
  private func wideGlyph(at position: Int) -> Glyph {
    guard let (scalar, length) = decodeScalar(text, at: position, end: end) else {
      return Glyph(kind: .other, byte: 0x80, length: 1)
    }
    return Glyph(kind: ScalarKind(scalar), byte: 0x80, length: length)
  }

  /// The code point at `position`, which is in the stretch; U+FFFD for a byte that is no UTF-8.
  func scalar(at position: Int) -> Unicode.Scalar {
    decodeScalar(text, at: position, end: end)?.scalar ?? "\u{FFFD}"
  }

  /// Whether the character at `position`, which is in the stretch, is a mark (`\p{M}`).
  func isMark(at position: Int) -> Bool {
    CharacterClass.Category(scalar(at: position)) == .mark
  }

  /// Where the run of characters of `kind` that begins at `position` ends.
  @inline(__always)
  func skip(_ kind: ScalarKind, from position: Int) -> Int {
    var position = position
    while true {
      let glyph = glyph(at: position)
      if glyph.kind != kind { return position }
      position &+= glyph.length
    }
  }

  /// Length of the contraction (`'s 't 're 've 'm 'll 'd`) at `position`, where there is an
  /// apostrophe; zero when there is none. With `ignoringCase`, ASCII capitals count too.
  @inline(__always)
  func contraction(at position: Int, ignoringCase: Bool) -> Int {
    let fold: UInt8 = ignoringCase ? 0x20 : 0
    guard position &+ 1 < end else { return 0 }
    let first = text[position &+ 1] | fold
    switch first {
    case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return 2
    default: break
    }
    guard position &+ 2 < end else { return 0 }
    let second = text[position &+ 2] | fold
    switch (first, second) {
    case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
      (UInt8(ascii: "l"), UInt8(ascii: "l")):
      return 3
    default: return 0
    }
  }
}
