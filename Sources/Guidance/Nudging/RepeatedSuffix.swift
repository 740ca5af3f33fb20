/// Repetitions at the end of a text.
enum RepeatedSuffix {
  /// Shorter ones stay, in characters.
  static let least = 30

  /// The bytes of `text`, valid UTF-8, that stay when its end is taken off as long as it repeats what
  /// stands right before it: the longest such end first.
  static func strippedCount(_ text: [UInt8]) -> Int {
    var count = text.count
    while let length = longest(text[..<count]) { count -= length }
    return count
  }

  /// Bytes of the longest end of at least `least` characters that stands twice; nil if there is none.
  private static func longest(_ text: ArraySlice<UInt8>) -> Int? {
    let count = text.count
    guard count >= 2 * least else { return nil }
    let same = commonWithEnd(text)
    var length = count / 2
    while length >= least {
      // What begins within a character is no end of the text.
      if same[length] >= length, text[count - length] & 0xC0 != 0x80,
        text[(count - length)...].lazy.filter({ $0 & 0xC0 != 0x80 }).count >= least
      {
        return length
      }
      length -= 1
    }
    return nil
  }

  /// For each n, how many bytes before the last n are the same as the last ones: the Z function of the
  /// reversed text, in linear time.
  private static func commonWithEnd(_ text: ArraySlice<UInt8>) -> [Int] {
    let count = text.count
    func byte(_ index: Int) -> UInt8 { text[count - 1 - index] }
    var same = [Int](repeating: 0, count: count)
    var (left, right) = (0, 0)
    for index in 1..<count {
      if index < right { same[index] = min(right - index, same[index - left]) }
      while index + same[index] < count, byte(same[index]) == byte(index + same[index]) {
        same[index] += 1
      }
      if index + same[index] > right { (left, right) = (index, index + same[index]) }
    }
    return same
  }
}
