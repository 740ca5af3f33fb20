extension Tokenizer {
  /// Nil when this vocabulary and `other` mean the same by every id that both have: the same bytes,
  /// and control or not. Else a sentence that names the first id that differs.
  ///
  /// Vocabularies of different size agree if the longer one only goes on; whether models with such
  /// vocabularies may be mixed is the caller's to decide.
  package func difference(from other: Tokenizer) -> String? {
    if self === other { return nil }
    for id in 0..<Int32(min(vocabularySize, other.vocabularySize)) {
      let mine = bytes(of: id)
      let theirs = other.bytes(of: id)
      if mine.count != theirs.count || !areEqual(mine, theirs) {
        return "token \(id) is \(Self.quoted(mine)) in one vocabulary and "
          + "\(Self.quoted(theirs)) in the other"
      }
      if isControl(id) != other.isControl(id) {
        return "token \(id) (\(Self.quoted(mine))) is a control token in only one of the "
          + "vocabularies"
      }
    }
    return nil
  }

  /// `bytes` for a message: at most 32 of them, in quotes; invalid UTF-8 and control characters
  /// become `\x…`.
  private static func quoted(_ bytes: UnsafeRawBufferPointer) -> String {
    let limit = min(bytes.count, 32)
    var result = "\""
    var position = 0
    while position < limit {
      if let (scalar, length) = decodeScalar(bytes, at: position, end: limit), scalar.value >= 0x20,
        scalar.value != 0x7F
      {
        result.unicodeScalars.append(scalar)
        position += length
      } else {
        let digits = String(bytes[position], radix: 16)
        result += "\\x" + (digits.utf8.count < 2 ? "0" : "") + digits
        position += 1
      }
    }
    return result + (limit < bytes.count ? "…\"" : "\"")
  }
}
