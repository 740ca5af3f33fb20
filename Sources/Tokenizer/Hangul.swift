/// Korean syllables, which stand for two or three letters by a rule.
enum Hangul {
  static let leads: ClosedRange<UInt32> = 0x1100...0x1112
  static let vowels: ClosedRange<UInt32> = 0x1161...0x1175
  static let tails: ClosedRange<UInt32> = 0x11A8...0x11C2
  private static let syllables: ClosedRange<UInt32> = 0xAC00...0xD7A3
  /// Syllables with the same lead and vowel: one without a tail, and one for each.
  private static let tailCount: UInt32 = 28

  /// The letters of a syllable; without a tail that is zero. Nil if `code` is none.
  static func parts(of code: UInt32) -> (UInt32, UInt32, UInt32)? {
    guard syllables.contains(code) else { return nil }
    let index = code - syllables.lowerBound
    let (pair, tail) = index.quotientAndRemainder(dividingBy: tailCount)
    let count = UInt32(vowels.count)
    return (
      leads.lowerBound + pair / count, vowels.lowerBound + pair % count,
      tail == 0 ? 0 : tails.lowerBound - 1 + tail
    )
  }

  /// The syllable of a lead and a vowel, or of a syllable without tail and a tail.
  static func syllable(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if leads.contains(first), vowels.contains(second) {
      let pair = (first - leads.lowerBound) * UInt32(vowels.count) + second - vowels.lowerBound
      return syllables.lowerBound + pair * tailCount
    }
    guard syllables.contains(first), tails.contains(second),
      (first - syllables.lowerBound) % tailCount == 0
    else { return nil }
    return first + second - tails.lowerBound + 1
  }
}
