extension PreTokenizer {
  /// Cuts by `rules`; what lies outside `range` does not exist for them.
  func splitWords(
    _ text: UnsafeRawBufferPointer, _ range: Range<Int>, _ rules: WordRules,
    _ word: (Range<Int>) -> Void
  ) {
    let scanner = ScalarScanner(text: text, end: range.upperBound)
    var position = range.lowerBound
    while position < scanner.end {
      let start = position
      position = endOfWord(scanner, at: start, rules)
      word(start..<position)
    }
  }

  /// Where the word that begins at `start` ends; there is a character at `start`.
  private func endOfWord(_ scanner: ScalarScanner, at start: Int, _ rules: WordRules) -> Int {
    let first = scanner.glyph(at: start)
    if case .apart = rules.contractions, first.byte == UInt8(ascii: "'") {
      let length = scanner.contraction(at: start, ignoringCase: true)
      if length > 0 { return start + length }
    }
    if let end = endOfLetters(scanner, at: start, first, rules) {
      guard case .attached = rules.contractions,
        scanner.glyph(at: end).byte == UInt8(ascii: "'")
      else { return end }
      return end + scanner.contraction(at: end, ignoringCase: true)
    }
    if first.kind == .number {
      return endOfNumbers(scanner, from: start + first.length, atMost: rules.digits - 1)
    }
    let second = start + first.length
    if rules.isOther(first, scanner, start)
      || first.byte == UInt8(ascii: " ")
        && rules.isOther(scanner.glyph(at: second), scanner, second)
    {
      var end = second
      while true {
        let glyph = scanner.glyph(at: end)
        guard rules.isOther(glyph, scanner, end) else { break }
        end += glyph.length
      }
      while rules.trailing.contains(scanner.glyph(at: end).byte) { end += 1 }
      return end
    }
    if let end = endOfLines(scanner, from: start) { return end }
    switch rules.spaces {
    case .plain: return endOfSpaces(scanner, from: start)
    case .powersOfTwo: return endOfPowerOfTwo(scanner, from: start)
    }
  }

  /// The end of a run of letters at `start`, perhaps behind one other sign or white space that ends
  /// no line; nil if there is none.
  @inline(__always)
  private func endOfLetters(
    _ scanner: ScalarScanner, at start: Int, _ first: ScalarScanner.Glyph, _ rules: WordRules
  ) -> Int? {
    let second = start + first.length
    // What may stand in front is no letter, but may be a mark.
    let mayLead =
      first.kind != .letter && first.kind != .number && !scanner.isNewline(first.byte)
    switch rules.letters {
    case .plain, .withMarks:
      if rules.isLetter(first, scanner, start) {
        return endOfRun(scanner, from: second, rules)
      }
      let next = scanner.glyph(at: second)
      guard mayLead, rules.isLetter(next, scanner, second) else { return nil }
      return endOfRun(scanner, from: second + next.length, rules)
    case .cased, .casedWithMarks, .casedExactly:
      let leading = mayLead ? upperRun(scanner, from: second, rules) : nil
      if let end = leading?.endOfLower { return end }
      let own =
        rules.isLetter(first, scanner, start) ? upperRun(scanner, from: start, rules) : nil
      return own?.endOfLower ?? leading?.end ?? own?.end
    }
  }

  @inline(__always)
  private func endOfRun(_ scanner: ScalarScanner, from start: Int, _ rules: WordRules) -> Int {
    var position = start
    while true {
      let glyph = scanner.glyph(at: position)
      if !rules.isLetter(glyph, scanner, position) { return position }
      position += glyph.length
    }
  }

  /// A run of letters of U, and what follows.
  private struct UpperRun {
    /// Where `U+W*` ends; nil if the run is empty.
    var end: Int?
    /// Where `U*W+` ends; nil if that does not match.
    var endOfLower: Int?
  }

  private func upperRun(
    _ scanner: ScalarScanner, from start: Int, _ rules: WordRules
  ) -> UpperRun {
    var position = start
    // Where W+ needs one of the run, it gets the last that is of both kinds, alone.
    var endOfLastOfBoth: Int?
    var glyph = scanner.glyph(at: position)
    while rules.isLetter(glyph, scanner, position) {
      let letterCase = rules.letterCase(glyph, scanner, position)
      if letterCase == .lower { break }
      position += glyph.length
      if letterCase == nil { endOfLastOfBoth = position }
      glyph = scanner.glyph(at: position)
    }
    let end = position > start ? position : nil
    // What stopped the run, if it is a letter, is of W.
    guard rules.isLetter(glyph, scanner, position) else {
      return UpperRun(end: end, endOfLower: endOfLastOfBoth)
    }
    while rules.isLetter(glyph, scanner, position),
      rules.letterCase(glyph, scanner, position) != .upper
    {
      position += glyph.length
      glyph = scanner.glyph(at: position)
    }
    return UpperRun(end: end, endOfLower: position)
  }

  /// The end of at most `count` more number characters from `position`.
  private func endOfNumbers(
    _ scanner: ScalarScanner, from position: Int, atMost count: Int
  ) -> Int {
    var position = position
    var left = count
    while left > 0 {
      let glyph = scanner.glyph(at: position)
      if glyph.kind != .number { break }
      position += glyph.length
      left -= 1
    }
    return position
  }

  /// `\s*[\r\n]+`: just after the last line end in the run of spaces at `start`; nil when it
  /// has none.
  func endOfLines(_ scanner: ScalarScanner, from start: Int) -> Int? {
    var end: Int?
    var position = start
    while true {
      let glyph = scanner.glyph(at: position)
      if glyph.kind != .space { return end }
      position += glyph.length
      if scanner.isNewline(glyph.byte) { end = position }
    }
  }

  /// The most of 512, 256, … 4 characters of white space, else two or one, that no other character
  /// follows; else one.
  private func endOfPowerOfTwo(_ scanner: ScalarScanner, from start: Int) -> Int {
    // More white space than this leads to the same.
    var ends: [Int] = []
    var position = start
    while ends.count <= 512 {
      let glyph = scanner.glyph(at: position)
      guard glyph.kind == .space else { break }
      position += glyph.length
      ends.append(position)
    }
    let isClosed = position >= scanner.end
    for count in [512, 256, 128, 64, 32, 16, 8, 4, 2, 1]
    where count < ends.count || count == ends.count && isClosed {
      return ends[count - 1]
    }
    return ends[0]
  }
}
