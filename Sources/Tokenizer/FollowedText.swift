import Tensor

/// The tokens of a text that goes on behind another and grows: of what is there already only the
/// end is tokenised again.
///
/// The tokens are always those of the whole text (`encode` with `continues`). Copying is cheap
/// until it changes. Threads: a value, one owner.
package struct FollowedText: Sendable {
  /// The tokens of the text.
  package private(set) var tokens: [Int32] = []

  /// The text as it was.
  private var text: [UInt8] = []

  private var settled = SettledText()

  /// No text.
  package init() {}

  /// Follows the text to what it is now, whether it has grown or not, and returns how many of its
  /// first tokens are the same as before.
  ///
  /// Throws `.invalidArgument` for texts beyond 2 GiB.
  package mutating func update(
    to newText: [UInt8], with tokenizer: Tokenizer
  ) throws(IVGError) -> Int {
    // The seam is safe as long as the character behind it is there, too.
    let known = min(settled.byteCount + 4, text.count)
    if settled.byteCount > 0, !newText.prefix(known).elementsEqual(text.prefix(known)) {
      settled = SettledText()
    }
    var common = settled.tokens.count
    try settled.settle(newText, with: tokenizer)
    let next = try settled.tokens(of: newText[...], with: tokenizer)
    while common < min(tokens.count, next.count), tokens[common] == next[common] { common += 1 }
    tokens = next
    text = newText
    return common
  }
}

extension Tokenizer {
  /// The last place in `text`, beyond `start`, where it can be cut so that the two parts (the
  /// second one as a continuation) have the tokens of the whole, and have them still however the
  /// text goes on. Nil if none is known.
  package func lastSeam(in text: [UInt8], after start: Int) -> Int? {
    guard !seamRule.isNowhere else { return nil }
    return text.withUnsafeBytes { bytes in
      var position = bytes.count - 1
      while position > start {
        if model.isSeam(bytes, at: position), seamRule.allows(bytes, at: position) {
          return position
        }
        position -= 1
      }
      return nil
    }
  }
}
