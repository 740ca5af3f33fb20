import Dispatch
import Glibc
import Guidance
import Tensor
import TestSupport
import Testing
import Transformer

/// What a request does with its options, and what it refuses.
@Suite struct RequestTests {
  let models: Models
  let session: Session

  init() throws {
    models = try Models()
    session = try GuidanceTests.session(models.llama)
  }

  private func kind(_ body: () throws -> Void) -> IVGError.Kind? {
    do { try body() } catch { return (error as? IVGError)?.kind }
    return nil
  }

  @Test func sameSeedSameText() throws {
    let first = try session.run(nil, options(30, seed: 3))
    #expect(try session.run(nil, options(30, seed: 3)).tokens == first.tokens)
    #expect(try session.run(nil, options(30, seed: 4)).tokens != first.tokens)
  }

  @Test func earlierRequestsAreReusedWithoutATrace() throws {
    let fresh = try session.run(nil, options(20))
    let reused = try session.run(nil, options(20))
    #expect(session.search!.reusedCount == session.search!.promptCount - 1)
    #expect(reused.tokens == fresh.tokens)
    let longer = prompt + Array(" not good at all".utf8)
    let after = try session.run(nil, options(20), prompt: longer)
    #expect(session.search!.reusedCount > 0)
    let own = try GuidanceTests.session(models.llama).run(nil, options(20), prompt: longer)
    #expect(after.tokens == own.tokens)
  }

  @Test func stopStringsEndARowAndAreHeldBack() throws {
    let free = try session.run(nil, options(40) { $0.sampling.temperature = 0 })
    let bytes = models.llama.tokenizer.decode(free.tokens, skipControl: true)
    for range in [3..<6, 10..<15, 20..<21] {
      let stop = Array(bytes[range])
      let run = try session.run(
        nil,
        options(40) {
          $0.sampling.temperature = 0
          $0.stopStrings = [Array("never seen".utf8), stop]
        })
      #expect(run.best.finish == .stop)
      #expect(run.steps.last!.finish == .stop)
      let shown = String(decoding: run.best.text.dropLast(), as: UTF8.self)
      #expect(!Array(shown.utf8).contains(stop))
    }
  }

  @Test func bannedTokensPenaltiesAndProcessors() throws {
    let greedy = options(10) { $0.sampling.temperature = 0 }
    let free = try session.run(nil, greedy)
    let banned = try session.run(
      nil,
      options(10) {
        $0.sampling.temperature = 0
        $0.bannedTokens = [free.tokens[0]]
      })
    #expect(!banned.tokens.contains(free.tokens[0]))
    let penalised = try session.run(
      nil,
      options(40) {
        $0.sampling.temperature = 0
        $0.sampling.repetitionPenalty = 100
      })
    #expect(Set(penalised.tokens).count == penalised.tokens.count)
    var calls = 0
    _ = try session.run(
      nil,
      options(10) {
        $0.processor = { row, tokens, logits in
          calls += 1
          return row == 0 && tokens.count == calls - 1 && logits.count == 320
        }
      })
    #expect(calls == 10)
    #expect(
      kind { _ = try session.run(nil, options { $0.processor = { _, _, _ in false } }) }
        == .callback)
    #expect(
      kind {
        _ = try session.run(
          nil,
          options {
            $0.processor = { _, _, logits in
              logits[0] = .nan
              return true
            }
          })
      } == .callback)
  }

  @Test func endTokensEndARow() throws {
    let free = try session.run(nil, options(10))
    let run = try session.run(
      nil,
      options(10) {
        $0.ignoresEnd = false
        $0.endTokens = [free.tokens[4]]
      })
    #expect(run.best.finish == .end)
    #expect(run.tokens.last == free.tokens[4])
    #expect(run.tokens.count <= 5)
  }

  @Test func refusals() throws {
    #expect(kind { _ = try session.run(nil, options(0)) } == .invalidArgument)
    #expect(kind { _ = try session.run(nil, options(257)) } == .contextFull)
    #expect(
      kind { _ = try session.run(nil, options(10), prompt: Array(repeating: 65, count: 4000)) }
        == .contextFull)
    #expect(kind { _ = try session.run(nil, options { $0.endTokens = [999] }) } == .invalidArgument)
    #expect(
      kind { _ = try session.run(nil, options { $0.stopStrings = [[]] }) } == .invalidArgument)
    #expect(
      kind { _ = try session.run(nil, options { $0.sampling.topK = 0 }) } == .invalidArgument)
    #expect(
      kind { _ = try session.run(nil, options { $0.sampling.temperature = .nan }) }
        == .invalidArgument)
    #expect(kind { _ = try SearchOptions(width: 0, successors: 1, chunk: 1) } == .invalidArgument)
    #expect(
      kind { _ = try SearchOptions(width: 500, successors: 500, chunk: 1) } == .invalidArgument)
    // The session is as usable as before.
    #expect(try session.run(nil, options()).tokens.count == 12)
  }

  @Test func memoryIsRefusedBeforeItIsTaken() throws {
    let score = Part(.explicit(models.explicit(models.vocabularyHead)), weight: 1, role: .score)
    let small = try GuidanceTests.session(models.llama, budget: 4_000_000)
    #expect(try small.run(nil, options()).tokens.count == 12)
    #expect(
      kind {
        _ = try small.run(guidance([score], width: 8, successors: 64, chunk: 5), options(100))
      } == .outOfMemory)
    #expect(try small.run(nil, options()).tokens.count == 12)
    #expect(kind { _ = try GuidanceTests.session(models.llama, budget: 1000) } == .outOfMemory)
  }

  @Test func emptyPromptsBeginWithTheFilesToken() throws {
    #expect(try session.run(nil, options(5), prompt: []).tokens.count == 5)
  }

  @Test func topAlternativesAreSortedAndHoldTheToken() throws {
    try session.begin(
      prompt: prompt,
      options: options {
        $0.topLogProbabilities = 5
        $0.sampling.temperature = 0
      }, guidance: nil)
    while let step = try session.next() {
      let top = session.search!.alternatives
      #expect(top.count == 5)
      #expect(top.tokens[0] == step.token)
      #expect(top.logProbabilities[0] == step.logProbability)
      for index in 1..<5 { #expect(top.logProbabilities[index] <= top.logProbabilities[index - 1]) }
    }
  }

  @Test func aHostedModelIsSteeredLikeAnyOther() throws {
    let trunkSession = try GuidanceTests.session(models.llama)
    var failing = false
    let host = HostedModel(
      contextLength: 256,
      compute: { rows, size in
        for row in rows {
          do {
            let sequence = try EvaluatedSequence(session: trunkSession, adapter: nil)
            try sequence.evaluate(UnsafeBufferPointer(start: row.tokens, count: row.tokenCount))
            let logits = try sequence.logits()
            for index in 0..<size { row.logits[index] = logits[index] }
          } catch { return false }
        }
        return !failing
      }, finalizer: {})
    let hosted = LanguageModel(hosted: host, vocabulary: models.llama.tokenizer)
    let parts = [
      Part(.implicit(models.implicit), weight: 1, role: .tilt),
      Part(.explicit(models.explicit(models.scalarHead)), weight: 1, role: .score),
    ]
    let steered = try GuidanceTests.session(hosted)
    for guide in [
      nil, try guidance(parts), try guidance(parts, width: 2, successors: 2, chunk: 3),
    ] {
      let own = try session.run(guide, options())
      #expect(
        try steered.run(guide, options()).candidates.map(\.tokens) == own.candidates.map(\.tokens))
    }
    failing = true
    #expect(kind { _ = try steered.run(nil, options()) } == .callback)
  }

  @Test func sequencesAndRequestsShareASession() throws {
    let alone = try session.run(nil, options(10))
    try session.begin(prompt: prompt, options: options(10), guidance: nil)
    let sequence = try EvaluatedSequence(session: session, adapter: models.adapter)
    var tokens: [Int32] = [5, 9, 14]
    var drawn: [Int32] = []
    while let step = try session.next() {
      drawn.append(step.token)
      try tokens.withUnsafeBufferPointer { try sequence.evaluate($0) }
      tokens = [Int32(drawn.count)]
    }
    #expect(drawn == alone.tokens)
    let fork = try EvaluatedSequence(copying: sequence)
    let before = Array(try sequence.logits())
    try [Int32(7)].withUnsafeBufferPointer { try fork.evaluate($0) }
    #expect(Array(try sequence.logits()) == before)
    #expect(Array(try fork.logits()) != before)
    #expect(kind { try sequence.truncate(to: 1000) } == .invalidArgument)
  }
}

/// Sessions on one model, used by threads of their own at the same time.
@Suite struct ConcurrencyTests {
  @Test func sessionsOnOneModelRunAtOnce() throws {
    let models = try Models()
    let parts = [
      Part(.implicit(models.implicit), weight: 1, role: .tilt),
      Part(.explicit(models.explicit(models.vocabularyHead)), weight: 1, role: .score),
    ]
    let guide = try guidance(parts, width: 2, successors: 2, chunk: 3)
    let expected = try session(models.llama).run(guide, options(20)).candidates.map(\.tokens)
    nonisolated(unsafe) var results = [[[Int32]]](repeating: [], count: 4)
    nonisolated(unsafe) let (shared, base) = (guide, models.llama)
    results.withUnsafeMutableBufferPointer { buffer in
      nonisolated(unsafe) let slots = buffer
      DispatchQueue.concurrentPerform(iterations: 4) { index in
        let run = try? session(base, threads: 1 + index % 2).run(shared, options(20))
        slots[index] = run?.candidates.map(\.tokens) ?? []
      }
    }
    #expect(results.allSatisfy { $0 == expected })
  }

  @Test func cancelFromAnotherThread() throws {
    let models = try Models()
    let session = try session(models.llama, threads: 2)
    let whole = try session.run(nil, options(200)).tokens
    for delay in [0, 50, 300, 1000] {
      try session.begin(prompt: prompt, options: options(200), guidance: nil)
      let flag = session.cancel
      let waiter = DispatchQueue(label: "cancel")
      waiter.async {
        usleep(UInt32(delay))
        flag.raise()
      }
      var drawn: [Int32] = []
      while true {
        do {
          guard let step = try session.next() else { break }
          drawn.append(step.token)
        } catch { #expect(error.kind == .cancelled) }
      }
      waiter.sync {}
      _ = session.cancel.take()
      #expect(drawn == whole)
    }
  }
}
