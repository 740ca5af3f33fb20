/// Small patterns of single pre-tokenizers; each gives the end of its match at a place, nil if
/// there is none.
extension ScalarScanner {
  /// Exactly `count` ASCII digits.
  func endOfDigits(at start: Int, count: Int) -> Int? {
    for offset in 0..<count where !isDigit(at: start + offset) { return nil }
    return start + count
  }

  /// `<sentinel:[0-9]+>|IMGIMG[A-I]{1,4}Z`
  func endOfPlaceholder(at start: Int) -> Int? {
    if var position = end(of: "<sentinel:", at: start) {
      let digits = position
      while isDigit(at: position) { position += 1 }
      return position > digits ? end(of: ">", at: position) : nil
    }
    guard var position = end(of: "IMGIMG", at: start) else { return nil }
    let letters = position
    while position < letters + 4, position < end, (0x41...0x49).contains(text[position]) {
      position += 1
    }
    return position > letters ? end(of: "Z", at: position) : nil
  }

  /// `[\t\n]|    |  `
  func endOfIndent(at start: Int) -> Int? {
    let byte = glyph(at: start).byte
    if byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\n") { return start + 1 }
    return end(of: "    ", at: start) ?? end(of: "  ", at: start)
  }

  /// Whether `byte` is `\r` or `\n`.
  @inline(__always)
  func isNewline(_ byte: UInt8) -> Bool {
    byte == 0x0A || byte == 0x0D
  }

  private func isDigit(at position: Int) -> Bool {
    position < end && text[position] >= 0x30 && text[position] <= 0x39
  }

  private func end(of literal: StaticString, at start: Int) -> Int? {
    let count = literal.utf8CodeUnitCount
    guard count <= end - start else { return nil }
    for offset in 0..<count where text[start + offset] != literal.utf8Start[offset] { return nil }
    return start + count
  }
}
