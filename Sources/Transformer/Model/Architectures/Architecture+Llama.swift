extension Architecture {
  /// Llama 1 to 3, TinyLlama, SmolLM2, Tulu; Mistral, which may slide; Mixtral, whose files have experts.
  static let llama = Architecture(name: "llama", rotation: .interleaved)
}
