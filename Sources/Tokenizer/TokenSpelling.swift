/// How a vocabulary writes the bytes of its tokens.
enum TokenSpelling: Sendable {
  /// Byte-level: a character of the alphabet for each byte.
  case bytes(ByteAlphabet)

  /// SentencePiece: text in which U+2581 `▁` stands for a space, and `<0xNN>` for single bytes.
  case pieces

  /// What stands for a space in SentencePiece vocabularies, U+2581.
  static let spaceMark: [UInt8] = [0xE2, 0x96, 0x81]

  /// The bytes of a token, written to `output`.
  struct Result {
    /// How many bytes.
    var length: Int
    /// Whether plain text can become the token.
    var isSpelled: Bool
    /// Whether the token must be found in text before anything else, if its kind is user-defined.
    var isVerbatim: Bool
  }

  /// Writes what `text`, an entry of `kind`, stands for to `output`, which has room for
  /// `text.count` bytes.
  ///
  /// Nil for a byte token that is not written `<0xNN>`.
  @inline(__always)
  func decode(
    _ text: UnsafeRawBufferPointer, kind: TokenKind, to output: UnsafeMutablePointer<UInt8>
  ) -> Result? {
    switch self {
    case .bytes(let alphabet):
      let spelled = alphabet.decode(text, to: output)
      if let spelled, kind != .control, kind != .userDefined, kind != .unknown {
        return Result(length: spelled, isSpelled: true, isVerbatim: true)
      }
      Self.copy(text, to: output)
      return Result(
        length: text.count, isSpelled: spelled != nil && kind != .control, isVerbatim: true)
    case .pieces:
      return Self.decodePiece(text, kind: kind, to: output)
    }
  }

  /// The value of a byte token `<0xNN>`; nil if `text` is none.
  static func byte(_ text: UnsafeRawBufferPointer) -> UInt8? {
    guard text.count == 6, text[0] == UInt8(ascii: "<"), text[1] == UInt8(ascii: "0"),
      text[2] == UInt8(ascii: "x"), text[5] == UInt8(ascii: ">"),
      let high = hexadecimal(text[3]), let low = hexadecimal(text[4])
    else { return nil }
    return high << 4 | low
  }

  /// The kind of an entry of a SentencePiece vocabulary whose file gives no kinds.
  static func likelyKind(_ text: UnsafeRawBufferPointer) -> TokenKind {
    if byte(text) != nil { return .byte }
    if text.elementsEqual("<unk>".utf8) { return .unknown }
    if text.elementsEqual("<s>".utf8) || text.elementsEqual("</s>".utf8) { return .control }
    return .normal
  }

  private static func decodePiece(
    _ text: UnsafeRawBufferPointer, kind: TokenKind, to output: UnsafeMutablePointer<UInt8>
  ) -> Result? {
    switch kind {
    case .byte:
      guard let byte = byte(text) else { return nil }
      output[0] = byte
      return Result(length: 1, isSpelled: false, isVerbatim: false)
    case .control, .unknown:
      copy(text, to: output)
      return Result(length: text.count, isSpelled: false, isVerbatim: true)
    case .normal, .unused, .userDefined:
      // Text has its spaces marked before it is merged, but not when user-defined tokens are looked
      // for.
      let hasSpace = text.contains(UInt8(ascii: " "))
      let length = unmark(text, to: output)
      return Result(length: length, isSpelled: !hasSpace, isVerbatim: length == text.count)
    }
  }

  /// Copies `text` with spaces in place of marks and returns how many bytes there are now; `output`
  /// has room for `text.count`.
  static func unmark(
    _ text: UnsafeRawBufferPointer, to output: UnsafeMutablePointer<UInt8>
  ) -> Int {
    var written = 0
    var position = 0
    while position < text.count {
      if isMark(text, at: position) {
        output[written] = UInt8(ascii: " ")
        position += 3
      } else {
        output[written] = text[position]
        position += 1
      }
      written += 1
    }
    return written
  }

  /// Whether a mark begins at `position`.
  @inline(__always)
  static func isMark(_ text: UnsafeRawBufferPointer, at position: Int) -> Bool {
    text[position] == 0xE2 && position &+ 2 < text.count && text[position &+ 1] == 0x96
      && text[position &+ 2] == 0x81
  }

  private static func copy(
    _ text: UnsafeRawBufferPointer, to output: UnsafeMutablePointer<UInt8>
  ) {
    guard let source = text.baseAddress else { return }
    UnsafeMutableRawPointer(output).copyMemory(from: source, byteCount: text.count)
  }

  private static func hexadecimal(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    default: nil
    }
  }
}
