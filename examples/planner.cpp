// One decision of a vessel by a traced SAC model, as a ROS 2 node would take it; see docs/how-to/planner.md.
//
//     planner traced_SAC_model.pt < observation.txt
//
// Input, in the frames of ROS (x forward, y to port, yaw counter-clockwise; m, m/s, rad/s, N), first line:
//     goal x, goal y, velocity x, velocity y, yaw rate, left thrust, right thrust
// and, relative to the vessel, a line for each object:
//     x, y, velocity x, velocity y, radius
// Output: thrust rates (N/s) to the left and right, and the thrusts (N) that hold half a second later.

#include <torch/script.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

constexpr int kOwn = 7, kFields = 5, kObjects = 5;
constexpr double kRate = 1000.0, kStep = 0.5, kLeast = -500.0, kMost = 1000.0;

using Object = std::array<double, kFields>;

// Training has y to starboard and yaw clockwise: what points to port, and what turns, changes its sign.
std::vector<double> own_state(std::istream& in) {
  std::vector<double> own(kOwn);
  for (double& number : own) in >> number;
  for (int k : {1, 3, 4}) own[k] = -own[k];
  return own;
}

// The nearest five by the gap to their surface; what is farther is left out.
std::vector<Object> objects(std::istream& in) {
  std::vector<Object> found;
  for (Object each; in >> each[0] >> each[1] >> each[2] >> each[3] >> each[4];) {
    each[1] = -each[1], each[3] = -each[3];
    found.push_back(each);
  }
  const auto gap = [](const Object& o) { return std::hypot(o[0], o[1]) - o[4]; };
  std::stable_sort(found.begin(), found.end(), [&](auto& a, auto& b) { return gap(a) < gap(b); });
  found.resize(std::min<size_t>(found.size(), kObjects));
  return found;
}

// Own state (1, 7), objects (1, 5, 5) padded with zeros, and which of them there are (1, 5); float64.
torch::jit::IValue observation(std::istream& in) {
  const auto own = own_state(in);
  const auto seen = objects(in);
  auto x1 = torch::tensor(own, torch::kFloat64).unsqueeze(0);
  auto x2 = torch::zeros({1, kObjects, kFields}, torch::kFloat64);
  auto mask = torch::zeros({1, kObjects}, torch::kFloat64);
  for (size_t k = 0; k < seen.size(); ++k) {
    for (int field = 0; field < kFields; ++field) x2[0][k][field] = seen[k][field];
    mask[0][k] = 1.0;
  }
  return c10::ivalue::Tuple::create({x1, x2, mask});
}

int main(int count, char** words) {
  if (count != 2) {
    std::cerr << "usage: planner MODEL < OBSERVATION\n";
    return 2;
  }
  torch::NoGradGuard no_gradients;
  auto model = torch::jit::load(words[1]);
  const auto input = observation(std::cin);
  const auto output = model.forward({input}).toTuple();  // mean and log standard deviation
  const auto mean = output->elements()[0].toTensor();
  const auto action = torch::atan(mean) * (2 / M_PI);  // the mean alone: a vessel does not explore
  const auto own = input.toTuple()->elements()[0].toTensor();
  std::cout << std::setprecision(17);
  for (int side = 0; side < 2; ++side) {
    const double rate = kRate * action[0][side].item<double>();
    const double thrust = own[0][5 + side].item<double>() + kStep * rate;
    std::cout << rate << ' ' << std::clamp(thrust, kLeast, kMost) << '\n';
  }
}
