import Testing
import Training

@Test func numbersOfObjectivesArePinned() {
  #expect(Objective.supervised.rawValue == 1)
  #expect(Objective.value.rawValue == 4)
}
