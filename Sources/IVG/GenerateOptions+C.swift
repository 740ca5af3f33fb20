import CIVG
import Guidance
import Tensor

@_cdecl("ivg_generate_options_init") @implementation
public func ivg_generate_options_init(
  _ options: UnsafeMutablePointer<ivg_generate_options>, _ struct_size: UInt32
) { Struct.initialize(options, struct_size) }

/// The caller's options with defaults filled in. Their bounds are checked where they are used.
func generateOptions(_ pointer: UnsafePointer<ivg_generate_options>?) throws(IVGError)
  -> GenerateOptions
{
  let given =
    try Struct.read(pointer, "ivg_generate_options", reserved: { $0.reserved })
    ?? ivg_generate_options()
  var options = GenerateOptions()
  if given.max_tokens != 0 { options.maximumTokens = Int(given.max_tokens) }
  options.seed = given.seed
  options.sampling = try samplingOptions(given)
  try Input.check(
    flags: given.flags, known: IVG_GENERATE_IGNORE_END, IVG_GENERATE_ATTRIBUTION)
  options.ignoresEnd = given.flags & UInt32(IVG_GENERATE_IGNORE_END) != 0
  options.keepsAttribution = given.flags & UInt32(IVG_GENERATE_ATTRIBUTION) != 0
  options.topLogProbabilities = Int(given.top_log_probabilities)
  options.template = Text.bytes(given.prompt_template)
  if let strings = given.stop_strings {
    options.stopStrings = try Input.array(strings, given.stop_string_count, "stop_string_count")
      .map { Text.bytes($0) ?? [] }
  }
  if let tokens = given.end_tokens {
    options.endTokens = Array(
      try Input.array(tokens, given.end_token_count, "end_token_count"))
  }
  if let tokens = given.banned_tokens {
    options.bannedTokens = Array(
      try Input.array(tokens, given.banned_token_count, "banned_token_count"))
  }
  if let process = given.logits_processor {
    let userData = given.logits_processor_data
    options.processor = { row, tokens, logits in
      // A row without tokens still has an address to give.
      withUnsafeTemporaryAllocation(of: Int32.self, capacity: 1) { none in
        process(
          userData, UInt32(row), tokens.baseAddress ?? UnsafePointer(none.baseAddress!),
          tokens.count, logits.baseAddress!, logits.count) == 0
      }
    }
  }
  return options
}

private func samplingOptions(_ given: ivg_generate_options) throws(IVGError) -> SamplingOptions {
  var sampling = SamplingOptions()
  if given.temperature == -1 {
    sampling.temperature = 0
  } else if given.temperature != 0 {
    guard given.temperature > 0 else {
      throw IVGError(
        .invalidArgument,
        "temperature is \(given.temperature); it must be above 0, or IVG_GREEDY (-1)")
    }
    sampling.temperature = given.temperature
  }
  if given.top_k != 0 { sampling.topK = given.top_k == UInt32.max ? nil : Int(given.top_k) }
  if given.top_p != 0 { sampling.topP = given.top_p }
  sampling.minP = given.min_p
  if given.repetition_penalty != 0 { sampling.repetitionPenalty = given.repetition_penalty }
  return sampling
}
