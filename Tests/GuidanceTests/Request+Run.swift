import Guidance
import Tensor
import TestSupport
import Testing
import Tokenizer
import Transformer

/// What a request gave, gathered from its steps and candidates.
struct Run {
  var steps: [Step] = []
  var streamed: [UInt8] = []
  var candidates: [Candidate] = []

  var best: Candidate { candidates[0] }
  var tokens: [Int32] { candidates[0].tokens }
  var texts: [String] { candidates.map { String(decoding: $0.text.dropLast(), as: UTF8.self) } }
}

/// The tiny models of `Tests/Fixtures`, opened once a test.
struct Models {
  let llama: LanguageModel
  let untuned: LanguageModel
  let other: LanguageModel
  let adapter: Adapter
  let vocabularyHead: ValueHead
  let scalarHead: ValueHead
  let adaptedHead: ValueHead

  init() throws {
    func open(_ name: String) throws -> LanguageModel {
      LanguageModel(try Model(path: Fixtures.path(name)))
    }
    llama = try open("tiny-llama.gguf")
    untuned = try open("tiny-llama-untuned.gguf")
    other = try open("tiny-other-vocabulary.gguf")
    let trunk = try llama.trunk(for: "a test")
    adapter = try Adapter(path: Fixtures.path("tiny-adapter.gguf"), trunk: trunk)
    vocabularyHead = try ValueHead(
      path: Fixtures.path("tiny-value-vocabulary.gguf"), trunk: trunk)
    scalarHead = try ValueHead(path: Fixtures.path("tiny-value-scalar.gguf"), trunk: trunk)
    adaptedHead = try ValueHead(path: Fixtures.path("tiny-value-lora.gguf"), trunk: trunk)
  }

  func guide(_ model: LanguageModel? = nil, adapter: Adapter? = nil, template: String? = nil)
    -> Guide
  {
    Guide(model: model, adapter: adapter, template: template.map { Array($0.utf8) })
  }

  /// tuned = the trunk with its adapter, untuned = the plain trunk, each under the bare prompt.
  var implicit: ImplicitValue {
    ImplicitValue(
      tuned: guide(llama, adapter: adapter), untuned: guide(llama), lengthAverage: false)
  }

  func explicit(_ head: ValueHead) -> ExplicitValue {
    ExplicitValue(head: head, model: llama, template: nil)
  }
}

func session(_ base: LanguageModel, threads: Int = 1, budget: UInt64 = 0) throws -> Session {
  try Session(
    base: base, options: SessionOptions(threadCount: threads, contextLength: 0, budget: budget))
}

func guidance(
  _ parts: [Part], width: Int = 1, successors: Int = 1, chunk: Int = 0,
  _ change: (inout SearchOptions) -> Void = { _ in }
) throws -> Guidance {
  var search = try SearchOptions(width: width, successors: successors, chunk: chunk)
  change(&search)
  let guidance = Guidance(search: search)
  for part in parts { try guidance.add(part) }
  return guidance
}

func options(
  _ maximumTokens: Int = 12, seed: UInt64 = 7, _ change: (inout GenerateOptions) -> Void = { _ in }
) -> GenerateOptions {
  var options = GenerateOptions()
  options.maximumTokens = maximumTokens
  options.seed = seed
  options.ignoresEnd = true
  change(&options)
  return options
}

let prompt = Array("The film was".utf8)

extension Session {
  /// Runs a request to its end.
  func run(_ guidance: Guidance? = nil, _ options: GenerateOptions, prompt text: [UInt8] = prompt)
    throws -> Run
  {
    try begin(prompt: text, options: options, guidance: guidance)
    return try finish()
  }

  /// Goes on with a request to its end.
  func finish() throws -> Run {
    var run = Run()
    while let step = try next() {
      run.steps.append(step)
      run.streamed += search!.text.dropLast()
    }
    run.candidates = (0..<search!.candidateCount).map { search!.candidate($0)! }
    #expect(run.streamed == Array(run.best.text.dropLast()))
    return run
  }
}

/// A scorer that the test writes.
func scorer(_ score: @escaping (String, Bool) -> Double) -> Part {
  Part(
    .scorer(
      HostScorer(
        score: { _, texts in
          texts.map { score(String(decoding: $0.bytes, as: UTF8.self), $0.isFinished) }
        }, finalizer: {})), weight: 1, role: .score)
}

func encode(_ tokenizer: Tokenizer, _ text: String) throws -> [Int32] {
  try encode(tokenizer, Array(text.utf8))
}

func encode(_ tokenizer: Tokenizer, _ text: [UInt8]) throws -> [Int32] {
  try text.withUnsafeBytes {
    try tokenizer.encode($0, parseSpecial: false, addBegin: false)
  }
}
