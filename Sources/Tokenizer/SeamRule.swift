/// Where user-defined tokens, which are found in every text, let a text be cut in two that are
/// tokenised apart; where the rest lets it is `TokenizerModel.isSeam`'s to say.
///
/// What tokens ask of the text around them (`AddedTokenRules`) is seen by single bytes, so that places may be left out
/// that would do. Threads: a plain value, shareable.
struct SeamRule: Sendable {
  /// Whether user-defined tokens leave no place that is known to be safe.
  let isNowhere: Bool

  /// Last bytes of tokens that take the white space behind them along.
  private var endsBeforeSpace = Bytes()
  /// First bytes of tokens that take the white space before them along.
  private var beginsBehindSpace = Bytes()
  /// Last and first bytes of tokens beside which no word may be.
  private var endsBeforeWord = Bytes()
  private var beginsBehindWord = Bytes()
  private var hasRules = false

  init(
    vocabulary: Vocabulary, userDefined: [Int32], rules: AddedTokenRules, model: any TokenizerModel
  ) {
    var isNowhere = false
    for id in userDefined {
      let text = vocabulary.bytes(of: Int(id))
      guard let first = text.first, let last = text.last else { continue }
      if !Self.isWhole(text) { isNowhere = true }
      // A seam of the model inside the token would part it.
      for position in 1..<text.count where model.isSeam(text, at: position) { isNowhere = true }
      if rules.strippingRight.contains(id) { endsBeforeSpace.insert(last) }
      if rules.strippingLeft.contains(id) { beginsBehindSpace.insert(first) }
      if rules.singleWords.contains(id) {
        endsBeforeWord.insert(last)
        beginsBehindWord.insert(first)
      }
      hasRules = hasRules || rules.concern(id)
    }
    self.isNowhere = isNowhere
  }

  /// Whether no token asks for what is on the other side of `position`, which is inside `text`.
  func allows(_ text: UnsafeRawBufferPointer, at position: Int) -> Bool {
    guard hasRules else { return true }
    let (left, right) = (text[position - 1], text[position])
    let isSpaceLeft = Self.mayBeSpace(left)
    let isSpaceRight = Self.mayBeSpace(right)
    // White space may be parted from the token, or in itself.
    if isSpaceRight, endsBeforeSpace.contains(left) || isSpaceLeft && !endsBeforeSpace.isEmpty {
      return false
    }
    if isSpaceLeft, beginsBehindSpace.contains(right) || isSpaceRight && !beginsBehindSpace.isEmpty {
      return false
    }
    return !(Self.mayBeWord(right) && endsBeforeWord.contains(left))
      && !(Self.mayBeWord(left) && beginsBehindWord.contains(right))
  }

  private static func mayBeSpace(_ byte: UInt8) -> Bool {
    byte >= 0x80 || ScalarKind(ascii: byte) == .space
  }

  private static func mayBeWord(_ byte: UInt8) -> Bool {
    byte >= 0x80 || ScalarKind(ascii: byte) != .space
  }

  /// A set of bytes.
  private struct Bytes: Sendable {
    private var bits: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    var isEmpty: Bool { bits == (0, 0, 0, 0) }

    mutating func insert(_ byte: UInt8) {
      withUnsafeMutableBytes(of: &bits) { $0[Int(byte >> 3)] |= 1 << (byte & 7) }
    }

    func contains(_ byte: UInt8) -> Bool {
      withUnsafeBytes(of: bits) { $0[Int(byte >> 3)] & 1 << (byte & 7) != 0 }
    }
  }

  /// Whether `text` is valid UTF-8, so that it begins and ends between the characters of a text.
  private static func isWhole(_ text: UnsafeRawBufferPointer) -> Bool {
    var position = 0
    while position < text.count {
      guard let (_, length) = decodeScalar(text, at: position, end: text.count) else {
        return false
      }
      position += length
    }
    return true
  }
}
