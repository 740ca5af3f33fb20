import Tensor

extension Tokenizer {
  /// The tokens of `text`.
  ///
  /// Special tokens written in the text are recognised when `parseSpecial` is set (of overlapping
  /// ones the longest); without it they are text like any other, except for user-defined ones,
  /// which always count. With `addBegin`, `beginToken` comes first if there is one, unless the text
  /// begins with it (as rendered chat templates do); pass `addsBeginToken` to do as the model expects.
  /// `continues`: the text goes on behind another. Vocabularies that put a space before a text then put
  /// none; behind special tokens most do so, as in llama.cpp, if these are parsed (see `SpacePrefix`).
  ///
  /// Any bytes are legal, UTF-8 or not, and `decode` gives them back exactly, except for single
  /// bytes that the vocabulary cannot spell (see `canSpell`), which are left out or become the unknown token; for `▁`,
  /// which is a space to SentencePiece, and the spaces it puts in, or a space at the beginning in place of that; for
  /// white space beside a special token that takes it along; and for what a `normalizer` changes, in stretches of valid
  /// UTF-8.
  ///
  /// Throws `.invalidArgument` for texts beyond 2 GiB, or beyond a third of that where they are normalized. Threads:
  /// may be called from any number at once.
  package func encode(
    _ text: UnsafeRawBufferPointer, parseSpecial: Bool, addBegin: Bool, continues: Bool = false
  ) throws(IVGError) -> [Int32] {
    guard text.count <= normalizer.longestText else {
      throw IVGError(
        .invalidArgument,
        "a text of \(text.count) bytes is too long; at most \(normalizer.longestText) can be")
    }
    var output: [Int32] = []
    output.reserveCapacity(text.count / 3 + 8)
    let begin = addBegin ? beginToken : nil
    if let begin { output.append(begin) }
    let specials = parseSpecial ? allSpecials : userDefined
    // Nothing is before the stretch of plain text, or a special token.
    var isBeginning = !continues
    specials.split(text, normalizer: normalizer) { plain in
      model.encode(plain, isBeginning: isBeginning, into: &output)
      isBeginning = false
    } special: { token in
      output.append(token)
      isBeginning = (parseSpecial || !continues) && model.spacePrefix.countsBehindSpecials
    }
    if let begin, parseSpecial, output.count > 1, output[1] == begin { output.removeFirst() }
    return output
  }

  /// The tokens of `prompt` followed by `completion`, as one text: a merge may span the border.
  /// Special tokens are parsed in the prompt, and in the completion and across the border only with
  /// `parseCompletion`.
  ///
  /// Without that, for text whose second part is not to be trusted with structure. A completion
  /// directly behind a special token gets no space in front, as a model's answer has none that it
  /// did not write. `addBegin` and errors as above.
  package func encode(
    prompt: [UInt8], completion: [UInt8], addBegin: Bool, parseCompletion: Bool = false
  ) throws(IVGError) -> [Int32] {
    let limit = normalizer.longestText
    guard prompt.count <= limit, completion.count <= limit - prompt.count else {
      throw IVGError(
        .invalidArgument,
        "a text of \(prompt.count) + \(completion.count) bytes is too long; at most \(limit) can be")
    }
    // What follows the prompt's last special token joins the completion.
    let border = endOfSpecials(prompt)
    var output = try encode(Array(prompt[..<border]), parseSpecial: true, addBegin: addBegin)
    let tail = prompt[border...]
    output += try encode(
      Array(tail + completion), parseSpecial: parseCompletion, addBegin: false,
      continues: border > 0
        && (tail.isEmpty || !model.spacePrefix.countsBehindSpecials))
    return output
  }

  /// Whether the vocabulary can spell a text that consists of `byte` alone. Some vocabularies lack
  /// bytes that no text of theirs had, such as rare control characters; `encode` leaves those out, or
  /// puts the unknown token.
  package func canSpell(_ byte: UInt8) -> Bool {
    withUnsafeBytes(of: byte) { bytes in
      var output: [Int32] = []
      model.encode(bytes, isBeginning: false, into: &output)
      return output.contains { vocabulary.kind(of: Int($0)) != .unknown }
    }
  }

  /// Where the last special token in `text` ends, with the white space behind it that belongs to it.
  private func endOfSpecials(_ text: [UInt8]) -> Int {
    var end = 0
    text.withUnsafeBytes { bytes in
      allSpecials.all.split(bytes, addedRules) { _ in } special: { _, position in end = position }
    }
    return end
  }
}
