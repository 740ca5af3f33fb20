/// The classes of characters that pre-tokenizer rules distinguish, as of Unicode 15.1: letters and
/// numbers added later count as `other`. So ids depend neither on the Swift release nor on the
/// machine, and are llama.cpp's.
enum ScalarKind: UInt8, Sendable {
  /// `\p{L}`.
  case letter
  /// `\p{N}`.
  case number
  /// `\s`: the Unicode property White_Space.
  case space
  /// Everything else, unassigned code points and bytes that are no UTF-8 included.
  case other
  /// Beyond the end of the text.
  case end

  /// The class of a code point beyond ASCII.
  init(_ scalar: Unicode.Scalar) {
    switch scalar.value {
    case 0x400...0x481, 0x3041...0x3096, 0x4E00...0x9FFF, 0xAC00...0xD7A3:
      // Cyrillic, Hiragana, Han and Hangul blocks that hold nothing but letters.
      self = .letter
    default:
      switch scalar.properties.generalCategory {
      case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
        self = Self.isKnown(scalar) ? .letter : .other
      case .decimalNumber, .letterNumber, .otherNumber:
        self = Self.isKnown(scalar) ? .number : .other
      default:
        self = scalar.properties.isWhitespace ? .space : .other
      }
    }
  }

  /// Whether `scalar` is part of Unicode 15.1.
  static func isKnown(_ scalar: Unicode.Scalar) -> Bool {
    guard let age = scalar.properties.age else { return false }
    return age.major < 16
  }

  /// The class of an ASCII character.
  @inline(__always)
  init(ascii byte: UInt8) {
    let folded = byte | 0x20
    if folded >= 0x61 && folded <= 0x7A {
      self = .letter
    } else if byte == 0x20 || (byte >= 0x09 && byte <= 0x0D) {
      self = .space
    } else if byte >= 0x30 && byte <= 0x39 {
      self = .number
    } else {
      self = .other
    }
  }
}
