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

  /// A place up to which text and tokens are settled, however the text goes on.
  private var seam = (byte: 0, token: 0)

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
    let known = min(seam.byte + 4, text.count)
    if seam.byte > 0, !newText.prefix(known).elementsEqual(text.prefix(known)) { seam = (0, 0) }
    let start = seam
    let next = tokenizer.lastSeam(in: newText, after: start.byte)
    var fresh: [Int32] = []
    if let next {
      fresh = try tokenizer.encode(
        Array(newText[start.byte..<next]), parseSpecial: false, addBegin: false, continues: true)
      seam = (next, start.token + fresh.count)
    }
    fresh += try tokenizer.encode(
      Array(newText[(next ?? start.byte)...]), parseSpecial: false, addBegin: false,
      continues: true)

    var common = start.token
    for token in fresh {
      guard common < tokens.count, tokens[common] == token else { break }
      common += 1
    }
    tokens.removeLast(tokens.count - common)
    tokens += fresh[(common - start.token)...]
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
        if model.isSeam(bytes, at: position) { return position }
        position -= 1
      }
      return nil
    }
  }
}
