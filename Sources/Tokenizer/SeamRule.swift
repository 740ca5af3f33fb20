/// Where user-defined tokens, which are found in every text, let a text be cut in two that are tokenised
/// apart; where the rest lets it is `TokenizerModel.isSeam`'s to say.
///
/// Threads: a plain value, shareable.
struct SeamRule: Sendable {
  /// Whether user-defined tokens leave no place that is known to be safe.
  private let isNowhere: Bool

  /// By byte: whether a user-defined token ends with it, behind which text begins anew; empty if that does not matter.
  private let lastBytes: [Bool]

  init(vocabulary: Vocabulary, userDefined: [Int32], model: any TokenizerModel) {
    var isNowhere = false
    var lastBytes = model.addsSpace ? [Bool](repeating: false, count: 256) : []
    for id in userDefined {
      let text = vocabulary.bytes(of: Int(id))
      guard let last = text.last else { continue }
      if !lastBytes.isEmpty { lastBytes[Int(last)] = true }
      if !Self.isWhole(text) { isNowhere = true }
      // A seam of the model inside the token would part it.
      for position in 1..<text.count where model.isSeam(text, at: position) { isNowhere = true }
    }
    self.isNowhere = isNowhere
    self.lastBytes = lastBytes
  }

  /// Whether user-defined tokens are the same if `text` is cut at `position`, which is above zero and a seam of the model.
  func allows(_ text: UnsafeRawBufferPointer, at position: Int) -> Bool {
    !isNowhere && (lastBytes.isEmpty || !lastBytes[Int(text[position - 1])])
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
