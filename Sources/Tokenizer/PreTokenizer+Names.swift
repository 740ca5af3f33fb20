extension PreTokenizer {
  /// The pre-tokenizer that files call `name`, or nil for one that is not known.
  package init?(named name: String) {
    guard let passes = Self.passes(named: name) else { return nil }
    self.init(
      name: name, passes: passes, ignoresMerges: Self.ignoringMerges.contains(name),
      addsBegin: Self.addingBegin.contains(name))
  }

  /// The same rules, but for letters beyond ASCII, whose case then counts: as the models' own files have it, where
  /// llama.cpp counts them as of both. Nil for rules that know no case.
  package var withExactCase: PreTokenizer? {
    var isCased = false
    let passes = passes.map { pass -> Pass in
      guard case .words(var rules) = pass, case .cased = rules.letters else { return pass }
      isCased = true
      rules.letters = .casedExactly
      return .words(rules)
    }
    guard isCased else { return nil }
    return PreTokenizer(
      name: name, passes: passes, ignoresMerges: ignoresMerges, addsBegin: addsBegin)
  }

  /// Every name that is known, for error messages.
  static let knownNames =
    "gpt-2, llama-bpe, qwen2, smollm, tekken, gpt-4o, falcon, deepseek-llm, deepseek-coder, deepseek-v3, bloom, default; "
    + "and, cut by the same rules or variants of them: phi-2, mpt, olmo, jais, gigachat, a.x-4.0, mellum, trillion, "
    + "granite-docling, exaone4, modern-bert, roberta-bpe, jina-*, starcoder, refact, command-r, codeshell, exaone, "
    + "minerva-7b, mellum2, llama3, llama-v3, falcon3, falcon-h1, pixtral, midm-2.0, lfm2, dbrx, smaug-bpe, glm4, "
    + "chatglm-bpe, minicpm5, jais-2, deepseek-r1-qwen, megrez, kormo, f2llmv2, stablelm2, hunyuan, solar-open, grok-2, "
    + "bailingmoe, bailingmoe2, llada-moe, seed-coder, laguna, ufakzeka, qwen35, llama4, kanana2, talkie, minimax-m2, "
    + "granite-embed-multi-97m, hunyuan-dense, joyai-llm, hy_v4, poro-chat, gpt3-finnish, viking, chameleon"

  /// Where a word that is a token becomes it.
  private static let ignoringMerges: Set = [
    "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
    "jina-v5-nano", "tekken", "minicpm5", "granite-embed-multi-97m",
  ]

  /// Where the begin token is customary.
  private static let addingBegin: Set = [
    "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
    "jina-v5-nano", "tekken", "chameleon",
  ]

  /// The rules by name, as in llama.cpp.
  private static func passes(named name: String) -> [Pass]? {
    switch name {
    case "default":
      [.runs(.punctuationOrMath), .gpt2, .runs(.number), .threeDigits]
    case "gpt-2", "phi-2", "mpt", "olmo", "jais", "gigachat", "a.x-4.0", "mellum", "trillion",
      "granite-docling", "exaone4", "modern-bert", "roberta-bpe", "jina-es", "jina-de",
      "jina-v1-en", "jina-v2-es", "jina-v2-de", "jina-v2-code":
      [.gpt2]
    case "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b",
      "mellum2":
      [.each(.number), .gpt2]
    case "falcon": [.runs(.punctuationOrMathOrAccent), .gpt2, .threeDigits]
    case "chameleon":
      [.placeholders, .indents, .each(.number), .each(.anyPunctuation), .gpt2]
    case "bloom", "poro-chat", "gpt3-finnish": [.spacedRuns(.noStop, anySpace: false)]
    case "viking": [.spacedRuns(.noStop, anySpace: false), .each(.number)]
    case "deepseek-llm":
      [
        .each(.lineEnd), .spacedRuns(.casedLetter, anySpace: true),
        .spacedRuns(.wideSymbol, anySpace: true), .trailingSpaces, .runs(.eastAsian),
        .runs(.number),
      ]
    case "deepseek-coder":
      [
        .each(.lineEnd), .spacedRuns(.letter, anySpace: true),
        .spacedRuns(.punctuation, anySpace: true), .runs(.eastAsian), .each(.number),
      ]
    case "deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4":
      [.groups(.number, count: 3), .runs(.hanOrKana), .deepSeek3]
    case "minicpm5": [.groups(.number, count: 3), .words(WordRules(digits: .max))]
    case "laguna": [.lines, .words(WordRules(digits: 1))]
    default: wordRules(named: name).map { [.words($0)] }
    }
  }

  /// The rules of one pass that is `words`.
  private static func wordRules(named name: String) -> WordRules? {
    let ends: [UInt8] = [UInt8(ascii: "\r"), UInt8(ascii: "\n"), UInt8(ascii: "/")]
    switch name {
    case "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
      "jina-v5-nano", "dbrx", "smaug-bpe", "glm4", "chatglm-bpe":
      return WordRules(digits: 3)
    case "qwen2", "deepseek-r1-qwen", "megrez", "kormo", "f2llmv2", "stablelm2", "hunyuan",
      "solar-open", "grok-2", "bailingmoe", "bailingmoe2", "llada-moe":
      return WordRules(digits: 1)
    case "jais-2": return WordRules(digits: 3, spaces: .powersOfTwo)
    case "ufakzeka": return WordRules(digits: 1, contractions: .ignored)
    case "seed-coder": return WordRules(digits: 1, trailing: [])
    case "qwen35": return WordRules(digits: 1, letters: .withMarks)
    case "tekken":
      return WordRules(digits: 1, contractions: .ignored, letters: .cased, trailing: ends)
    case "gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2":
      return WordRules(digits: 3, contractions: .attached, letters: .cased, trailing: ends)
    case "granite-embed-multi-97m":
      return WordRules(
        digits: 3, contractions: .attached, letters: .casedWithMarks, trailing: ends)
    default: return nil
    }
  }
}
