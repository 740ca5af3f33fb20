/// Special and user-defined tokens as they are found in a text: most before it is normalized, some in what that makes of
/// the text between.
///
/// Threads: immutable, shareable.
struct AddedTokens: Sendable {
  /// All of them, for texts that are not normalized.
  let all: SpecialTokens

  /// Those that are found first.
  private let first: SpecialTokens

  /// Those that are found in normalized text.
  private let second: SpecialTokens

  private let rules: AddedTokenRules

  init(vocabulary: Vocabulary, ids: [Int32], rules: AddedTokenRules) {
    self.rules = rules
    all = SpecialTokens(vocabulary: vocabulary, ids: ids)
    guard !rules.normalized.isEmpty else {
      first = all
      second = SpecialTokens(vocabulary: vocabulary, ids: [])
      return
    }
    first = SpecialTokens(
      vocabulary: vocabulary, ids: ids.filter { !rules.normalized.contains($0) })
    second = SpecialTokens(
      vocabulary: vocabulary, ids: ids.filter { rules.normalized.contains($0) })
  }

  /// Cuts `text` at these tokens, in order: `plain` gets the stretches between, normalized, borrowed for the call and
  /// never empty; `special` the tokens.
  func split(
    _ text: UnsafeRawBufferPointer, normalizer: TextNormalizer,
    plain: (UnsafeRawBufferPointer) -> Void, special: (Int32) -> Void
  ) {
    func splitNormalized(_ stretch: UnsafeRawBufferPointer) {
      normalizer.normalized(stretch) { stretch in
        guard !second.isEmpty else { return plain(stretch) }
        second.split(stretch, rules, plain: plain) { token, _ in special(token) }
      }
    }
    guard !text.isEmpty else { return }
    guard !first.isEmpty else { return splitNormalized(text) }
    first.split(text, rules, plain: splitNormalized) { token, _ in special(token) }
  }
}
