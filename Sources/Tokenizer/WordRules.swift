/// Rules of the shape that Llama 3 brought up: contractions, words with one sign in front, numbers,
/// other signs, white space.
///
/// With all defaults but `digits`:
/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}|`
/// ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
struct WordRules: Sendable {
  enum Contractions: Sendable {
    /// Words of their own.
    case apart
    /// Part of the word before.
    case attached
    /// Nothing special.
    case ignored
  }

  enum Letters: Sendable {
    /// `\p{L}+`
    case plain
    /// `[\p{L}\p{M}]+`; then other signs are none of these, either.
    case withMarks
    /// `U*W+|U+W*`, where U is any letter but a–z, and W any letter but A–Z.
    case cased
    /// The same with marks among the letters.
    case casedWithMarks
    /// `U*W+|U+W*`, where U is `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`, and W `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`, as the
    /// models' own files have it.
    case casedExactly
  }

  enum Spaces: Sendable {
    /// `\s+(?!\S)|\s+`
    case plain
    /// `\s{512}(?!\S)|\s{256}(?!\S)|…|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}`
    case powersOfTwo
  }

  /// The most numbers in a word.
  var digits: Int
  var contractions = Contractions.apart
  var letters = Letters.plain
  /// What else a run of other signs takes along behind it; all are ASCII.
  var trailing: [UInt8] = [UInt8(ascii: "\r"), UInt8(ascii: "\n")]
  var spaces = Spaces.plain

  /// Whether `glyph`, at `position`, counts as a letter.
  @inline(__always)
  func isLetter(_ glyph: ScalarScanner.Glyph, _ scanner: ScalarScanner, _ position: Int) -> Bool {
    if glyph.kind == .letter { return true }
    switch letters {
    case .plain, .cased: return false
    case .withMarks, .casedWithMarks, .casedExactly:
      return glyph.kind == .other && glyph.byte >= 0x80 && scanner.isMark(at: position)
    }
  }

  /// Whether `glyph`, a letter at `position`, may be in W only, in U only, or (nil) in both.
  @inline(__always)
  func letterCase(
    _ glyph: ScalarScanner.Glyph, _ scanner: ScalarScanner, _ position: Int
  ) -> LetterCase? {
    if glyph.byte < 0x80 { return glyph.byte & 0x20 != 0 ? .lower : .upper }
    guard case .casedExactly = letters else { return nil }
    switch scanner.scalar(at: position).properties.generalCategory {
    case .lowercaseLetter: return .lower
    case .uppercaseLetter, .titlecaseLetter: return .upper
    default: return nil
    }
  }

  enum LetterCase {
    case lower
    case upper
  }

  /// Whether `glyph`, at `position`, is one of the other signs.
  @inline(__always)
  func isOther(_ glyph: ScalarScanner.Glyph, _ scanner: ScalarScanner, _ position: Int) -> Bool {
    guard glyph.kind == .other else { return false }
    if case .withMarks = letters { return glyph.byte < 0x80 || !scanner.isMark(at: position) }
    return true
  }
}
