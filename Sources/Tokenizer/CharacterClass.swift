/// A set of characters in the rules of a pre-tokenizer.
enum CharacterClass: Sendable {
  /// `\n`
  case newline
  /// `[\r\n]`
  case lineEnd
  /// `[A-Za-z]`
  case asciiLetter
  /// ``[!-/:-@\[-`{-~]``
  case asciiPunctuation
  /// `\p{L}`
  case letter
  /// `[\p{L}\p{M}]`
  case letterOrMark
  /// `\p{N}`
  case number
  /// `\p{P}`
  case punctuation
  /// `[\p{P}\p{S}]`
  case punctuationOrSymbol
  /// `[\p{P}$+<=>^~|]`
  case punctuationOrMath
  /// ``[\p{P}$+<=>^~|`]``
  case punctuationOrMathOrAccent
  /// ``[\p{P}!-/:-@\[-`{-~]``
  case anyPunctuation
  /// Letters of scripts with two cases, as DeepSeek LLM lists them.
  case casedLetter
  /// `[!-/:-~！-／：-～‘-‟　-。]`, which has the letters of ASCII too
  case wideSymbol
  /// `[一-龥ࠀ-一가-퟿]`
  case eastAsian
  /// `[一-龥぀-ゟ゠-ヿ]`
  case hanOrKana
  /// `[^(\s|.,!?…。，、।۔،)]`
  case noStop

  /// Whether `glyph`, at `position`, is one.
  @inline(__always)
  func contains(_ scanner: ScalarScanner, _ glyph: ScalarScanner.Glyph, _ position: Int) -> Bool {
    switch self {
    case .newline: return glyph.byte == 0x0A
    case .lineEnd: return scanner.isNewline(glyph.byte)
    case .asciiLetter: return glyph.kind == .letter && glyph.byte < 0x80
    case .letter: return glyph.kind == .letter
    case .number: return glyph.kind == .number
    default: break
    }
    guard glyph.length > 0 else { return false }
    if glyph.byte < 0x80 { return containsASCII(glyph) }
    return containsWide(scanner, glyph, position)
  }

  /// The end of the run of at most `count` of these at `position`; nil if there is none.
  @inline(__always)
  func end(in scanner: ScalarScanner, at position: Int, atMost count: Int = .max) -> Int? {
    var end = position
    var left = count
    while left > 0 {
      let glyph = scanner.glyph(at: end)
      guard contains(scanner, glyph, end) else { break }
      end += glyph.length
      left -= 1
    }
    return end > position ? end : nil
  }

  /// Whether `glyph`, which is ASCII, is one.
  private func containsASCII(_ glyph: ScalarScanner.Glyph) -> Bool {
    let byte = glyph.byte
    // All 32 signs are punctuation or symbols.
    let isSign = glyph.kind == .other && byte > 0x20 && byte < 0x7F
    switch self {
    case .newline, .lineEnd, .asciiLetter, .letter, .number: return false
    case .letterOrMark, .casedLetter: return glyph.kind == .letter
    case .asciiPunctuation, .anyPunctuation: return isSign
    case .wideSymbol: return isSign || glyph.kind == .letter
    case .punctuation: return isSign && !isSymbol(byte)
    case .punctuationOrSymbol: return isSign
    case .punctuationOrMath: return isSign && byte != UInt8(ascii: "`")
    case .punctuationOrMathOrAccent: return isSign
    case .eastAsian, .hanOrKana: return false
    case .noStop:
      switch byte {
      case UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "|"), UInt8(ascii: "."),
        UInt8(ascii: ","), UInt8(ascii: "!"), UInt8(ascii: "?"):
        return false
      default: return glyph.kind != .space
      }
    }
  }

  /// ``[$+<=>^`|~]``: `\p{S}` in ASCII.
  private func isSymbol(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "$"), UInt8(ascii: "+"), UInt8(ascii: "<"), UInt8(ascii: "="),
      UInt8(ascii: ">"), UInt8(ascii: "^"), UInt8(ascii: "`"), UInt8(ascii: "|"),
      UInt8(ascii: "~"):
      return true
    default: return false
    }
  }

  /// Whether `glyph`, which is beyond ASCII, is one. White space is never, but for what is not
  /// `noStop`.
  private func containsWide(
    _ scanner: ScalarScanner, _ glyph: ScalarScanner.Glyph, _ position: Int
  ) -> Bool {
    guard glyph.kind != .space else { return false }
    let scalar = scanner.scalar(at: position)
    switch self {
    case .newline, .lineEnd, .asciiLetter, .asciiPunctuation, .letter, .number: return false
    case .letterOrMark: return glyph.kind == .letter || Category(scalar) == .mark
    case .punctuation, .punctuationOrMath, .punctuationOrMathOrAccent, .anyPunctuation:
      return Category(scalar) == .punctuation
    case .punctuationOrSymbol:
      let category = Category(scalar)
      return category == .punctuation || category == .symbol
    case .casedLetter: return CasedLetters.contains(scalar.value)
    case .wideSymbol:
      switch scalar.value {
      case 0xFF01...0xFF0F, 0xFF1A...0xFF5E, 0x2018...0x201F, 0x3000...0x3002: return true
      default: return false
      }
    case .eastAsian:
      return (0x800...0x9FA5).contains(scalar.value) || (0xAC00...0xD7FF).contains(scalar.value)
    case .hanOrKana:
      return (0x4E00...0x9FA5).contains(scalar.value) || (0x3040...0x30FF).contains(scalar.value)
    case .noStop:
      switch scalar {
      case "…", "。", "，", "、", "।", "۔", "،": return false
      default: return true
      }
    }
  }

  /// What a character beyond ASCII is that is neither letter nor number nor white space.
  enum Category {
    case mark
    case punctuation
    case symbol
    case other

    init(_ scalar: Unicode.Scalar) {
      switch scalar.properties.generalCategory {
      case .nonspacingMark, .spacingMark, .enclosingMark: self = .mark
      case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
        .initialPunctuation, .finalPunctuation, .otherPunctuation:
        self = .punctuation
      case .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol: self = .symbol
      default: self = .other
      }
      if self != .other, !ScalarKind.isKnown(scalar) { self = .other }
    }
  }
}
