extension PreTokenizer {
  /// The rules of Llama 3 (`digits` 3) and Qwen 2 (`digits` 1).
  ///
  /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}|`
  /// ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
  func splitLlama3(
    _ text: UnsafeRawBufferPointer, digits: Int, _ word: (Range<Int>) -> Void
  ) {
    let scanner = ScalarScanner(text: text, end: text.count)
    var position = 0
    while position < scanner.end {
      let start = position
      position = endOfLlama3Word(scanner, at: start, digits: digits)
      word(start..<position)
    }
  }

  /// Where the word that begins at `start` ends; there is a character at `start`.
  private func endOfLlama3Word(_ scanner: ScalarScanner, at start: Int, digits: Int) -> Int {
    let first = scanner.glyph(at: start)
    if first.byte == UInt8(ascii: "'") {
      let length = scanner.contraction(at: start, ignoringCase: true)
      if length > 0 { return start + length }
    }
    if first.kind == .letter { return scanner.skip(.letter, from: start + first.length) }
    if first.kind == .number {
      return endOfNumbers(scanner, from: start + first.length, atMost: digits - 1)
    }
    let second = scanner.glyph(at: start + first.length)
    if second.kind == .letter && !isNewline(first.byte) {
      return scanner.skip(.letter, from: start + first.length + second.length)
    }
    if first.kind == .other || (first.byte == UInt8(ascii: " ") && second.kind == .other) {
      var end = scanner.skip(.other, from: start + first.length)
      while isNewline(scanner.glyph(at: end).byte) { end += 1 }
      return end
    }
    return endOfLines(scanner, from: start) ?? endOfSpaces(scanner, from: start)
  }

  /// The end of at most `count` more number characters from `position`.
  private func endOfNumbers(
    _ scanner: ScalarScanner, from position: Int, atMost count: Int
  ) -> Int {
    var position = position
    for _ in 0..<count {
      let glyph = scanner.glyph(at: position)
      if glyph.kind != .number { break }
      position += glyph.length
    }
    return position
  }

  /// `\s*[\r\n]+`: just after the last line end in the run of spaces at `start`; nil when it
  /// has none.
  private func endOfLines(_ scanner: ScalarScanner, from start: Int) -> Int? {
    var end: Int?
    var position = start
    while true {
      let glyph = scanner.glyph(at: position)
      if glyph.kind != .space { return end }
      position += glyph.length
      if isNewline(glyph.byte) { end = position }
    }
  }

  /// Whether `byte` is `\r` or `\n`.
  @inline(__always)
  private func isNewline(_ byte: UInt8) -> Bool {
    byte == 0x0A || byte == 0x0D
  }
}
