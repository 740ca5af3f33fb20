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
  /// bytes that the vocabulary cannot spell (see `canSpell`), which are left out; for `▁`, which is
  /// a space to SentencePiece, and the spaces it puts in, or a space at the beginning in place of that;
  /// and for white space behind a special token that takes it along.
  ///
  /// Throws `.invalidArgument` for texts beyond 2 GiB. Threads: may be called from any number at
  /// once.
  package func encode(
    _ text: UnsafeRawBufferPointer, parseSpecial: Bool, addBegin: Bool, continues: Bool = false
  ) throws(IVGError) -> [Int32] {
    guard text.count < Int(Int32.max) else {
      throw IVGError(
        .invalidArgument,
        "a text of \(text.count) bytes is too long; at most \(Int32.max - 1) can be")
    }
    var output: [Int32] = []
    output.reserveCapacity(text.count / 3 + 8)
    let begin = addBegin ? beginToken : nil
    if let begin { output.append(begin) }
    let specials = parseSpecial ? allSpecials : userDefined
    var fragment = Fragment(isBeginning: !continues)
    if specials.isEmpty {
      append(text, fragment, to: &output)
    } else {
      specials.split(text) { plain in
        append(plain, fragment, to: &output)
        fragment = Fragment(isBeginning: false)
      } special: { token in
        output.append(token)
        fragment = Fragment(
          isBeginning: (parseSpecial || !continues) && model.spacePrefix.countsBehindSpecials,
          strips: stripping.contains(token))
      }
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
    guard prompt.count < Int(Int32.max) - min(completion.count, Int(Int32.max)) else {
      throw IVGError(
        .invalidArgument,
        "a text of \(prompt.count) + \(completion.count) bytes is too long; at most "
          + "\(Int32.max - 1) can be"
      )
    }
    // What follows the prompt's last special token joins the completion.
    let border = endOfSpecials(prompt)
    let head = Array(prompt[..<border.position])
    var output = try encode(head, parseSpecial: true, addBegin: addBegin)
    let rest = prompt[border.position...]
    let tail =
      border.strips ? rest.drop { StrippingTokens.isSpace($0) } : rest
    output += try encode(
      Array(tail + completion), parseSpecial: parseCompletion, addBegin: false,
      continues: border.position > 0
        && (tail.isEmpty || !model.spacePrefix.countsBehindSpecials))
    return output
  }

  /// Whether the vocabulary can spell a text that consists of `byte` alone. Some vocabularies lack
  /// bytes that no text of theirs had, such as rare control characters; `encode` leaves those out.
  package func canSpell(_ byte: UInt8) -> Bool {
    withUnsafeBytes(of: byte) { bytes in
      var output: [Int32] = []
      model.encode(bytes, isBeginning: false, into: &output)
      return !output.isEmpty
    }
  }

  /// What is before a stretch of plain text.
  private struct Fragment {
    /// Nothing, or a special token.
    var isBeginning: Bool
    /// A special token that takes the white space behind it along.
    var strips = false
  }

  private func append(
    _ text: UnsafeRawBufferPointer, _ fragment: Fragment, to output: inout [Int32]
  ) {
    let text = fragment.strips ? StrippingTokens.stripped(text) : text
    model.encode(text, isBeginning: fragment.isBeginning, into: &output)
  }

  /// Where the last special token in `text` ends, and whether it takes the white space behind it
  /// along.
  private func endOfSpecials(_ text: [UInt8]) -> (position: Int, strips: Bool) {
    var end = (position: 0, strips: false)
    var position = 0
    text.withUnsafeBytes { bytes in
      allSpecials.split(bytes) { plain in
        position += plain.count
      } special: { token in
        position += vocabulary.bytes(of: Int(token)).count
        end = (position, stripping.contains(token))
      }
    }
    return end
  }
}
