import Tensor

extension Tokenizer {
  /// The tokens of `text`.
  ///
  /// Special tokens written in the text are recognised when `parseSpecial` is set (of overlapping
  /// ones the longest); without it they are text like any other, except for user-defined ones,
  /// which always count. With `addBegin`, `beginToken` comes first if there is one; pass
  /// `addsBeginToken` to do as the model expects. Any bytes are legal, UTF-8 or not, and `decode`
  /// gives them back exactly, except for single bytes that the vocabulary cannot spell (see
  /// `canSpell`): those are left out.
  ///
  /// Throws `.invalidArgument` for texts beyond 2 GiB. Threads: may be called from any number at
  /// once.
  package func encode(
    _ text: UnsafeRawBufferPointer, parseSpecial: Bool, addBegin: Bool
  ) throws(IVGError) -> [Int32] {
    guard text.count <= Int(Int32.max) else {
      throw IVGError(
        .invalidArgument, "a text of \(text.count) bytes is too long; at most \(Int32.max) can be")
    }
    var output: [Int32] = []
    output.reserveCapacity(text.count / 3 + 8)
    if addBegin, let beginToken { output.append(beginToken) }
    let specials = parseSpecial ? allSpecials : userDefined
    if specials.isEmpty {
      model.encode(text, into: &output)
    } else {
      specials.split(text) { plain in
        model.encode(plain, into: &output)
      } special: { token in
        output.append(token)
      }
    }
    return output
  }

  /// The tokens of `prompt` followed by `completion`, as one text: special tokens are parsed in the
  /// prompt alone, never in the completion or across the border, but a merge may span it.
  ///
  /// For text whose second part is not to be trusted with structure. `addBegin` and errors as
  /// above.
  package func encode(
    prompt: [UInt8], completion: [UInt8], addBegin: Bool
  ) throws(IVGError) -> [Int32] {
    guard prompt.count <= Int(Int32.max) - min(completion.count, Int(Int32.max)) else {
      throw IVGError(
        .invalidArgument,
        "a text of \(prompt.count) + \(completion.count) bytes is too long; at most \(Int32.max) "
          + "can be"
      )
    }
    var output: [Int32] = []
    output.reserveCapacity((prompt.count + completion.count) / 3 + 8)
    if addBegin, let beginToken { output.append(beginToken) }
    // What follows the prompt's last special token joins the completion.
    var rest = prompt[...]
    prompt.withUnsafeBytes { bytes in
      var plain = UnsafeRawBufferPointer(start: nil, count: 0)
      allSpecials.split(bytes) {
        plain = $0
      } special: { token in
        model.encode(plain, into: &output)
        plain = UnsafeRawBufferPointer(start: nil, count: 0)
        output.append(token)
      }
      rest = prompt[(prompt.count - plain.count)...]
    }
    output += try encode(rest + completion, parseSpecial: false, addBegin: false)
    return output
  }

  /// Whether the vocabulary can spell a text that consists of `byte` alone. Some vocabularies lack
  /// bytes that no text of theirs had, such as rare control characters; `encode` leaves those out.
  package func canSpell(_ byte: UInt8) -> Bool {
    withUnsafeBytes(of: byte) { bytes in
      var output: [Int32] = []
      model.encode(bytes, into: &output)
      return !output.isEmpty
    }
  }
}
