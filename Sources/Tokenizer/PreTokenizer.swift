/// Cuts text into the words that merging never crosses, by the rules a file names in
/// `tokenizer.ggml.pre`.
///
/// The rules are regular expressions by origin; here each is a hand-written scan, linear in the
/// text. Threads: a plain value, shareable.
struct PreTokenizer: Sendable {
  /// The families of rules.
  enum Rules: Sendable {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    case gpt2
    /// Every `\p{N}` alone, then the GPT-2 rules between them.
    case singleDigits
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}|`
    /// ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    case llama3(digits: Int)
    /// Punctuation apart, the GPT-2 rules, numbers apart, ASCII digits in threes.
    case fallback
  }

  /// The name in the file.
  let name: String

  /// How text is cut.
  let rules: Rules

  /// Whether a word that is a token becomes that token, whatever the merges say.
  let ignoresMerges: Bool

  /// Whether the begin token is added when the file does not say.
  let addsBegin: Bool

  /// Calls `word` for every word of `text` in order; together they cover `text`. Never fails,
  /// whatever the bytes.
  func split(_ text: UnsafeRawBufferPointer, _ word: (Range<Int>) -> Void) {
    switch rules {
    case .gpt2: splitGPT2(text, 0..<text.count, word)
    case .singleDigits: splitSingleDigits(text, word)
    case .llama3(let digits): splitLlama3(text, digits: digits, word)
    case .fallback: splitFallback(text, word)
    }
  }
}
