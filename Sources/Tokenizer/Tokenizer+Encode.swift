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
