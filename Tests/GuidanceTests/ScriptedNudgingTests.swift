import Glibc
import Guidance
import Synchronization
import Tensor
import TestSupport
import Testing
import Tokenizer
import Transformer

/// A model that has learnt a text by heart: behind as much of it as stands after the first `start` bytes
/// of what it reads it expects the next token of the rest, at the end its end token; behind other text a
/// line break.
final class Script: Sendable {
  let text: [UInt8]
  let isSure: Bool
  let start: Int
  let calls = Mutex(0)
  /// Called in every call, with its number.
  let onCall: @Sendable (Int) -> Void

  init(
    _ text: String, isSure: Bool = true, start: Int = 1,
    onCall: @escaping @Sendable (Int) -> Void = { _ in }
  ) {
    self.start = start
    self.text = Array(text.utf8)
    self.isSure = isSure
    self.onCall = onCall
  }

  func model(_ vocabulary: Tokenizer) -> LanguageModel {
    let host = HostedModel(
      contextLength: 4096,
      compute: { rows, size in
        self.onCall(
          self.calls.withLock {
            $0 += 1
            return $0
          })
        for row in rows {
          let tokens = Array(UnsafeBufferPointer(start: row.tokens, count: row.tokenCount))
          for id in 0..<size { row.logits[id] = 0 }
          row.logits[Int(self.next(tokens, vocabulary))] = self.isSure ? 30 : 0.5
        }
        return true
      }, finalizer: {})
    return LanguageModel(hosted: host, vocabulary: vocabulary)
  }

  private func next(_ tokens: [Int32], _ vocabulary: Tokenizer) -> Int32 {
    let said = vocabulary.decode(tokens, skipControl: true).dropFirst(start)
    guard text.starts(with: said) else { return 3 + 10 }
    let rest = Array(text[said.count...])
    let encoded = try? vocabulary.encode(rest, parseSpecial: false, addBegin: false)
    return encoded?.first ?? vocabulary.endToken!
  }
}

/// What must come out where it is known what each side says.
@Suite struct ScriptedNudgingTests {
  let models: Models

  init() throws { models = try Models() }

  private func run(
    base: Script, nudger: Script, threshold: Double = 0.3, burst: Int = 16, maximum: Int = 200,
    stops: [String] = []
  ) throws -> NudgedRun {
    let tokenizer = models.llama.tokenizer
    let session = try GuidanceTests.session(base.model(tokenizer))
    return try session.nudge(
      nudging(
        models.guide(nudger.model(tokenizer)), threshold: threshold, burst: burst),
      greedy(maximum) { $0.stopStrings = stops.map { Array($0.utf8) } }, prompt: Array("x".utf8))
  }

  private func text(_ run: NudgedRun) -> String { String(decoding: run.text, as: UTF8.self) }

  /// The text with what the nudger wrote in brackets.
  private func marked(_ run: NudgedRun) -> String {
    var bytes = run.text
    for span in run.nudges.spans.reversed() {
      bytes.insert(UInt8(ascii: "]"), at: span.upperBound)
      bytes.insert(UInt8(ascii: "["), at: span.lowerBound)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test func aSureBaseWritesAfterTheFirstWord() throws {
    let words = "a text of the model, and a guide"
    let found = try run(base: Script(words), nudger: Script(words), burst: 4)
    #expect(marked(found) == "[a] text of the model, and a guide")
    #expect(found.candidate.finish == .end)
    let never = try run(
      base: Script(words, isSure: false), nudger: Script(words), threshold: 0, burst: 4)
    #expect(marked(never) == marked(found))
  }

  /// γ > 1: the base writes where both agree, and but one token; the text is the nudger's.
  @Test func aThresholdAboveOne() throws {
    let words = "a text of the model, and a guide"
    let agreeing = try run(base: Script(words), nudger: Script(words), threshold: 1.5, burst: 4)
    #expect(text(agreeing) == words)
    #expect(agreeing.nudges.share < 1)
    let other = try run(base: Script("#"), nudger: Script(words), threshold: 1.5)
    #expect(marked(other) == "[\(words)]")
    #expect(other.nudges.share == 1)
  }

  @Test func textWithoutSpacesGoesByCharacters() throws {
    let words = "你好世界，朋友。"
    let sure = try run(base: Script(words), nudger: Script(words))
    #expect(marked(sure) == "[你]好世界，朋友。")
    let unsure = try run(base: Script(words, isSure: false), nudger: Script(words), threshold: 0.9)
    #expect(text(unsure) == words)
    // Hangul has spaces.
    let korean = try run(base: Script("안녕 하세요"), nudger: Script("안녕 하세요"))
    #expect(marked(korean) == "[안녕] 하세요")
  }

  /// A character is handed over whole, also where a burst is shorter than it.
  @Test(arguments: [1, 2, 3, 16]) func charactersOfSeveralTokens(burst: Int) throws {
    let words = "🙂🙃 née 🎬"
    let found = try run(base: Script("#", isSure: false), nudger: Script(words), burst: burst)
    #expect(text(found) == words)
    for piece in found.texts { #expect(String(validating: piece, as: UTF8.self) != nil) }
    let bound = try run(
      base: Script("#", isSure: false), nudger: Script(words), burst: burst, maximum: 3)
    #expect(bound.text.isEmpty)
    #expect(bound.candidate.finish == .length)
    #expect(bound.candidate.tokens.isEmpty)
  }

  @Test func stopStringsAcrossSides() throws {
    let words = "a text of the model"
    let found = try run(base: Script(words), nudger: Script(words), burst: 4, stops: ["a text o"])
    #expect(text(found).isEmpty)
    #expect(found.candidate.finish == .stop)
    // What might have become a stop string comes later, still as the nudger's.
    let held = try run(base: Script(words), nudger: Script(words), burst: 4, stops: ["a text!"])
    #expect(marked(held) == "[a] text of the model")
    #expect(marks(held.isNudged) == "n" + String(repeating: "b", count: words.count - 1))
    #expect(held.steps.contains { $0.kind == .nudge && $0.finish == .none })
  }

  /// The end of the text that stands twice is taken off the result; steps have brought it.
  @Test func repeatedEnds() throws {
    let sentence = "The guide reads the same text again. "
    let words = "Well. " + sentence + sentence + sentence
    let found = try run(base: Script("#", isSure: false), nudger: Script(words))
    #expect(String(decoding: found.streamed, as: UTF8.self) == words)
    #expect(text(found) == "Well. " + sentence)
    #expect(found.nudges.spans == [0..<found.text.count])
    let short = try run(base: Script("#", isSure: false), nudger: Script("so so so so so so"))
    #expect(text(short) == "so so so so so so")
  }

  /// A base that says the same again and again gives way to the nudger.
  @Test func aBaseThatRepeatsItself() throws {
    let looping = "a " + String(repeating: "model and guide ", count: 40)
    let found = try run(base: Script(looping), nudger: Script("a b c d e"), maximum: 150)
    let base = found.streamed.indices.filter { !found.isNudged[$0] }.count
    #expect(base < 120)
    #expect(found.candidate.finish != .none)
  }

  /// Cancelled in any call of a model, then called again.
  @Test func cancelledAnywhere() throws {
    let words = "a text of the model, and a guide reads it"
    let tokenizer = models.llama.tokenizer
    func whole(_ number: Int) throws -> (text: [UInt8], calls: Int) {
      let flag = Mutex<CancelFlag?>(nil)
      let base = Script(words, isSure: true) { call in
        if call == number { flag.withLock { $0 }?.raise() }
      }
      let session = try GuidanceTests.session(base.model(tokenizer))
      flag.withLock { $0 = session.cancel }
      let run = try session.nudge(
        nudging(models.guide(models.untuned), threshold: 0.1, burst: 4), greedy(30),
        prompt: Array("x".utf8))
      return (run.streamed, base.calls.withLock { $0 })
    }
    let expected = try whole(0)
    for number in 1...expected.calls { #expect(try whole(number).text == expected.text) }
  }

  /// One thread generates, another cancels it again and again.
  @Test func cancelledFromAnotherThread() throws {
    let session = try GuidanceTests.session(models.llama, threads: 2)
    let guidance = try nudging(models.guide(models.other), threshold: 0.05)
    let expected = try session.nudge(guidance, greedy(60), prompt: prompt).streamed
    let isDone = Atomic<Bool>(false)
    let cancel = session.cancel
    let found = Mutex<[[UInt8]]>([])
    onThreads(2) { thread in
      if thread == 1 {
        for _ in 0..<200 where !isDone.load(ordering: .relaxed) {
          cancel.raise()
          usleep(300)
        }
        return
      }
      for _ in 0..<5 {
        let run = try? session.nudge(guidance, greedy(60), prompt: prompt)
        found.withLock { $0.append(run?.streamed ?? []) }
      }
      isDone.store(true, ordering: .relaxed)
    }
    #expect(found.withLock { $0 } == [[UInt8]](repeating: expected, count: 5))
  }

  /// Two sessions that share models and a guidance, at once.
  @Test func twoSessions() throws {
    let guidance = try nudging(models.guide(models.untuned), threshold: 0.05)
    let expected = try session(models.llama).nudge(guidance, greedy(50), prompt: prompt).streamed
    let found = Mutex<[[UInt8]]>([])
    onThreads(3) { thread in
      let session = try? GuidanceTests.session(models.llama, threads: 1 + thread % 2)
      let run = try? session?.nudge(guidance, greedy(50), prompt: prompt)
      found.withLock { $0.append(run?.streamed ?? []) }
    }
    #expect(found.withLock { $0 } == [[UInt8]](repeating: expected, count: 3))
  }

  /// The other side's text needs more tokens than the context holds: an error, and again on every call.
  @Test func contextFull() throws {
    let words = String(repeating: "value of the model 東京 ", count: 12)
    let tokenizer = models.llama.tokenizer
    let session = try Session(
      base: models.other,
      options: SessionOptions(threadCount: 1, contextLength: 48, budget: 0))
    let guidance = try nudging(models.guide(Script(words).model(tokenizer)), threshold: 1.5)
    try session.begin(prompt: Array("x".utf8), options: greedy(46), guidance: guidance)
    var kinds: [IVGError.Kind] = []
    for _ in 0..<100 where kinds.count < 2 {
      do throws(IVGError) {
        if try session.next() == nil { break }
      } catch { kinds.append(error.kind) }
    }
    #expect(kinds == [.contextFull, .contextFull])
    #expect(throws: IVGError.self) {
      try session.begin(prompt: Array("x".utf8), options: greedy(48), guidance: guidance)
    }
  }
}
