/// Cuts text into the words that merging never crosses, by the rules a file names in
/// `tokenizer.ggml.pre`.
///
/// The rules are regular expressions by origin, one or several in turn, each applied to the pieces
/// that the one before left: what it matches become pieces, and so does what is between matches.
/// Here each is a hand-written scan, linear in the text. Threads: a plain value, shareable.
package struct PreTokenizer: Sendable {
  /// One regular expression.
  enum Pass: Sendable {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    case gpt2
    /// Those of Llama 3, Qwen 2, GPT-4o and others.
    case words(WordRules)
    /// Those of DeepSeek V3, behind its two passes for numbers and for Han and Kana.
    case deepSeek3
    /// `[class]`
    case each(CharacterClass)
    /// `[class]+`
    case runs(CharacterClass)
    /// `[class]{1,count}`
    case groups(CharacterClass, count: Int)
    /// ` ?[class]+`, or with `\s?`
    case spacedRuns(CharacterClass, anySpace: Bool)
    /// `[0-9][0-9][0-9]`
    case threeDigits
    /// `\s+$`
    case trailingSpaces
    /// `[^\n]+|[\n]+`
    case lines
    /// `<sentinel:[0-9]+>|(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z`, of Chameleon
    case placeholders
    /// `[\t\n]|    |  `, of Chameleon
    case indents
  }

  /// The name in the file.
  let name: String

  /// How text is cut.
  let passes: [Pass]

  /// Whether a word that is a token becomes that token, whatever the merges say.
  var ignoresMerges: Bool

  /// Whether the begin token is added when the file does not say.
  let addsBegin: Bool

  /// Calls `word` for every word of `text` in order; together they cover `text`. Never fails,
  /// whatever the bytes.
  package func split(_ text: UnsafeRawBufferPointer, _ word: (Range<Int>) -> Void) {
    guard !text.isEmpty else { return }
    split(text, 0..<text.count, pass: 0, word)
  }

  /// Applies the passes from `pass` on to a piece, which is not empty.
  private func split(
    _ text: UnsafeRawBufferPointer, _ range: Range<Int>, pass: Int, _ word: (Range<Int>) -> Void
  ) {
    guard pass < passes.count else { return word(range) }
    if pass == passes.count - 1 { return apply(passes[pass], text, range, word) }
    apply(passes[pass], text, range) { piece in split(text, piece, pass: pass + 1, word) }
  }

  private func apply(
    _ pass: Pass, _ text: UnsafeRawBufferPointer, _ range: Range<Int>,
    _ piece: (Range<Int>) -> Void
  ) {
    switch pass {
    case .gpt2: splitGPT2(text, range, piece)
    case .words(let rules): splitWords(text, range, rules, piece)
    case .deepSeek3: splitMatches(text, range, piece) { endOfDeepSeek3Match($0, at: $1) }
    case .each(let set): splitMatches(text, range, piece) { set.end(in: $0, at: $1, atMost: 1) }
    case .runs(let set): splitMatches(text, range, piece) { set.end(in: $0, at: $1) }
    case .groups(let set, let count):
      splitMatches(text, range, piece) { set.end(in: $0, at: $1, atMost: count) }
    case .spacedRuns(let set, let anySpace):
      splitMatches(text, range, piece) { scanner, start in
        let first = scanner.glyph(at: start)
        let hasSpace = anySpace ? first.kind == .space : first.byte == UInt8(ascii: " ")
        if hasSpace, let end = set.end(in: scanner, at: start + first.length) { return end }
        return set.end(in: scanner, at: start)
      }
    case .threeDigits: splitMatches(text, range, piece) { $0.endOfDigits(at: $1, count: 3) }
    case .trailingSpaces: splitTrailingSpaces(text, range, piece)
    case .lines:
      splitMatches(text, range, piece) { CharacterClass.newline.end(in: $0, at: $1) }
    case .placeholders: splitMatches(text, range, piece) { $0.endOfPlaceholder(at: $1) }
    case .indents: splitMatches(text, range, piece) { $0.endOfIndent(at: $1) }
    }
  }

  /// Cuts a piece into what matches and what is between. `match` gives the end of the match that
  /// begins at a place, if one does, beyond that place.
  private func splitMatches(
    _ text: UnsafeRawBufferPointer, _ range: Range<Int>, _ piece: (Range<Int>) -> Void,
    match: (ScalarScanner, Int) -> Int?
  ) {
    let scanner = ScalarScanner(text: text, end: range.upperBound)
    var start = range.lowerBound
    var position = range.lowerBound
    while position < scanner.end {
      guard let end = match(scanner, position) else {
        position += scanner.glyph(at: position).length
        continue
      }
      if start < position { piece(start..<position) }
      piece(position..<end)
      (start, position) = (end, end)
    }
    if start < position { piece(start..<position) }
  }

  /// Cuts before the white space at the end of a piece.
  private func splitTrailingSpaces(
    _ text: UnsafeRawBufferPointer, _ range: Range<Int>, _ piece: (Range<Int>) -> Void
  ) {
    let scanner = ScalarScanner(text: text, end: range.upperBound)
    var spaces = range.lowerBound
    var position = range.lowerBound
    while position < scanner.end {
      let glyph = scanner.glyph(at: position)
      position += glyph.length
      if glyph.kind != .space { spaces = position }
    }
    if range.lowerBound < spaces { piece(range.lowerBound..<spaces) }
    if spaces < range.upperBound { piece(spaces..<range.upperBound) }
  }
}
