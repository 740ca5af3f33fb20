extension PreTokenizer {
  /// The GPT-2 rules on one stretch of `text`; what lies outside it does not exist for them.
  ///
  /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
  func splitGPT2(
    _ text: UnsafeRawBufferPointer, _ range: Range<Int>, _ word: (Range<Int>) -> Void
  ) {
    let scanner = ScalarScanner(text: text, end: range.upperBound)
    var position = range.lowerBound
    while position < scanner.end {
      let start = position
      let first = scanner.glyph(at: start)
      if first.byte == UInt8(ascii: "'") {
        let length = scanner.contraction(at: start, ignoringCase: false)
        if length > 0 {
          position = start + length
          word(start..<position)
          continue
        }
      }
      // A single space belongs to the run that follows it.
      let isSpace = first.byte == UInt8(ascii: " ")
      let bodyStart = isSpace ? start + 1 : start
      let body = isSpace ? scanner.glyph(at: bodyStart) : first
      switch body.kind {
      case .letter, .number, .other:
        position = scanner.skip(body.kind, from: bodyStart + body.length)
      case .space, .end:
        position = endOfSpaces(scanner, from: start)
      }
      word(start..<position)
    }
  }

  /// `\s+(?!\S)|\s+`: the end of the run of spaces at `start`, less its last character when
  /// something follows and there is more than one.
  func endOfSpaces(_ scanner: ScalarScanner, from start: Int) -> Int {
    var last = start
    var position = start
    while true {
      let glyph = scanner.glyph(at: position)
      if glyph.kind != .space {
        return glyph.kind == .end || last == start ? position : last
      }
      last = position
      position += glyph.length
    }
  }
}
