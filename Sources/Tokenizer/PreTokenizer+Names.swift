extension PreTokenizer {
  /// The pre-tokenizer that files call `name`, or nil for one that is not known.
  init?(named name: String) {
    let rules: Rules
    var ignoresMerges = false
    switch name {
    case "default":
      rules = .fallback
    case "gpt-2", "phi-2", "mpt", "olmo", "jais", "gigachat", "a.x-4.0", "mellum", "trillion",
      "granite-docling", "exaone4":
      rules = .gpt2
    case "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b",
      "mellum2":
      rules = .singleDigits
    case "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2":
      rules = .llama3(digits: 3)
      ignoresMerges = true
    case "dbrx", "smaug-bpe":
      rules = .llama3(digits: 3)
    case "qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2":
      rules = .llama3(digits: 1)
    default:
      return nil
    }
    self.init(name: name, rules: rules, ignoresMerges: ignoresMerges, addsBegin: ignoresMerges)
  }

  /// The names for error messages: one of each family first.
  static let knownNames =
    "gpt-2, llama-bpe, qwen2, smollm, default; and, cut by the same rules: phi-2, mpt, olmo, jais, "
    + "gigachat, a.x-4.0, mellum, trillion, granite-docling, exaone4, llama3, llama-v3, falcon3, "
    + "falcon-h1, pixtral, midm-2.0, lfm2, dbrx, smaug-bpe, deepseek-r1-qwen, megrez, stablelm2, "
    + "hunyuan, solar-open, grok-2, starcoder, refact, command-r, codeshell, exaone, minerva-7b, "
    + "mellum2"
}
