extension PreTokenizer {
  /// Where the match that begins at `start` ends; nil if none begins there.
  ///
  /// ``[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|``
  /// ` ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
  func endOfDeepSeek3Match(_ scanner: ScalarScanner, at start: Int) -> Int? {
    let first = scanner.glyph(at: start)
    let second = start + first.length
    if first.byte < 0x80, CharacterClass.asciiPunctuation.contains(scanner, first, start),
      let end = CharacterClass.asciiLetter.end(in: scanner, at: second)
    {
      return end
    }
    let word = CharacterClass.letterOrMark
    if let end = word.end(in: scanner, at: start) { return end }
    let signs = CharacterClass.punctuationOrSymbol
    if !scanner.isNewline(first.byte), !signs.contains(scanner, first, start),
      let end = word.end(in: scanner, at: second)
    {
      return end
    }
    let afterSpace = first.byte == UInt8(ascii: " ") ? signs.end(in: scanner, at: second) : nil
    if var end = afterSpace ?? signs.end(in: scanner, at: start) {
      while scanner.isNewline(scanner.glyph(at: end).byte) { end += 1 }
      return end
    }
    guard first.kind == .space else { return nil }
    return endOfLines(scanner, from: start) ?? endOfSpaces(scanner, from: start)
  }
}
