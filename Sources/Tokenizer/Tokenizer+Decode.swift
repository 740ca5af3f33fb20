extension Tokenizer {
  /// The raw bytes that `token` stands for: not always whole characters, and for control tokens
  /// their text. Empty for ids out of range and for unused entries. Borrowed: valid as long as the
  /// tokenizer.
  package func bytes(of token: Int32) -> UnsafeRawBufferPointer {
    guard isInRange(token), vocabulary.kind(of: Int(token)) != .unused else {
      return UnsafeRawBufferPointer(start: nil, count: 0)
    }
    return vocabulary.bytes(of: Int(token))
  }

  /// Whether `token` is structure rather than text. False for ids out of range.
  package func isControl(_ token: Int32) -> Bool {
    isInRange(token) && vocabulary.kind(of: Int(token)) == .control
  }

  /// Whether `token` means something: false for ids out of range, and for entries that are unused,
  /// empty or mere padding.
  package func isReal(_ token: Int32) -> Bool {
    isInRange(token) && !vocabulary.isPadding(Int(token))
  }

  /// The bytes of `tokens` one after another; those of control tokens only without `skipControl`.
  /// Ids out of range give nothing. For text that arrives piece by piece see `UTF8Assembler`.
  ///
  /// The space that `encode` puts before a text for some vocabularies is taken off, from the first
  /// token or the first behind control tokens at the beginning (of vocabularies that put none behind
  /// special tokens: behind the begin token); with `continues`, the tokens go on behind others and
  /// every space stays.
  package func decode(
    _ tokens: some Sequence<Int32>, skipControl: Bool, continues: Bool = false
  ) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(tokens.underestimatedCount * 4)
    let prefix = model.spacePrefix
    var isBeginning = prefix != .none && !continues
    for token in tokens {
      let isControl = isControl(token)
      let bytes = bytes(of: token)
      if !(skipControl && isControl) {
        let skipped = isBeginning && !isControl && bytes.first == UInt8(ascii: " ") ? 1 : 0
        output.append(contentsOf: bytes.dropFirst(skipped))
      }
      isBeginning = isBeginning && isControl && (prefix.countsBehindSpecials || token == beginToken)
    }
    return output
  }

  /// Whether `token` is an id of this vocabulary.
  @inline(__always)
  private func isInRange(_ token: Int32) -> Bool {
    token >= 0 && Int(token) < vocabularySize
  }
}
