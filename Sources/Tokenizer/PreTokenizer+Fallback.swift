extension PreTokenizer {
  /// The rules for files that name none (`default`): four passes, each on the pieces of the one
  /// before.
  ///
  /// `[\p{P}$+<=>^~|]+`, the GPT-2 rules, `\p{N}+`, `[0-9][0-9][0-9]`
  func splitFallback(_ text: UnsafeRawBufferPointer, _ word: (Range<Int>) -> Void) {
    var start = 0
    var position = 0
    var insidePunctuation = false
    while position < text.count {
      let decoded = decodeScalar(text, at: position, end: text.count)
      let isPunctuation = decoded.map { Self.isPunctuation($0.scalar) } ?? false
      if isPunctuation != insidePunctuation {
        splitFallbackPiece(text, start..<position, word)
        start = position
        insidePunctuation = isPunctuation
      }
      position += decoded?.length ?? 1
    }
    splitFallbackPiece(text, start..<position, word)
  }

  /// The second to fourth pass on a piece that is all punctuation or has none; it may be empty.
  private func splitFallbackPiece(
    _ text: UnsafeRawBufferPointer, _ range: Range<Int>, _ word: (Range<Int>) -> Void
  ) {
    guard !range.isEmpty else { return }
    splitGPT2(text, range) { piece in
      // A GPT-2 word is all numbers, perhaps after one space, or has none.
      let hasSpace = text[piece.lowerBound] == UInt8(ascii: " ")
      let numbers = hasSpace ? piece.lowerBound + 1 : piece.lowerBound
      let scanner = ScalarScanner(text: text, end: piece.upperBound)
      guard scanner.glyph(at: numbers).kind == .number else { return word(piece) }
      if hasSpace { word(piece.lowerBound..<numbers) }
      splitThrees(text, numbers..<piece.upperBound, word)
    }
  }

  /// Every three ASCII digits in a run of numbers alone, from the left.
  private func splitThrees(
    _ text: UnsafeRawBufferPointer, _ range: Range<Int>, _ word: (Range<Int>) -> Void
  ) {
    var start = range.lowerBound
    var position = range.lowerBound
    var digits = 0
    while position < range.upperBound {
      let byte = text[position]
      position += 1
      digits = byte >= 0x30 && byte <= 0x39 ? digits + 1 : 0
      if digits == 3 {
        if start < position - 3 { word(start..<(position - 3)) }
        word((position - 3)..<position)
        start = position
        digits = 0
      }
    }
    if start < position { word(start..<position) }
  }

  /// `[\p{P}$+<=>^~|]`.
  private static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "$", "+", "<", "=", ">", "^", "~", "|": return true
    default: break
    }
    switch scalar.properties.generalCategory {
    case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
      .initialPunctuation, .finalPunctuation, .otherPunctuation:
      return true
    default: return false
    }
  }
}
