/// Where user-defined tokens, which are found in every text, let a text be cut in two that are
/// tokenised apart; where the rest lets it is `TokenizerModel.isSeam`'s to say.
///
/// Threads: a plain value, shareable.
struct SeamRule: Sendable {
  /// Whether user-defined tokens leave no place that is known to be safe.
  let isNowhere: Bool

  init(vocabulary: Vocabulary, userDefined: [Int32], model: any TokenizerModel) {
    var isNowhere = false
    for id in userDefined {
      let text = vocabulary.bytes(of: Int(id))
      guard !text.isEmpty else { continue }
      if !Self.isWhole(text) { isNowhere = true }
      // A seam of the model inside the token would part it.
      for position in 1..<text.count where model.isSeam(text, at: position) { isNowhere = true }
    }
    self.isNowhere = isNowhere
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
