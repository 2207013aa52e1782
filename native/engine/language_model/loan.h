// A workspace for the time of a call.
//
// In: a model. Out: working memory that nobody else has; it goes back to the model's store at the end.
#pragma once

#include <memory>
#include <utility>

#include "language_model/language_model.h"

namespace slm {

class LanguageModel::Loan {
 public:
  explicit Loan(const LanguageModel& model) : store_(model.workspaces_), workspace_(store_.take()) {
    if (!workspace_) workspace_ = model.make_workspace();
  }
  ~Loan() { store_.give(std::move(workspace_)); }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  Workspace& operator*() const { return *workspace_; }

 private:
  WorkspaceStore& store_;
  std::unique_ptr<Workspace> workspace_;
};

}  // namespace slm
