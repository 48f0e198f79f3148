// SPDX-License-Identifier: Apache-2.0
// The core in one include: bundle, controller, planner and what they plan with.
#pragma once

#include "softmpc/black_box.h"
#include "softmpc/bundle.h"
#include "softmpc/check_models.h"
#include "softmpc/config.h"
#include "softmpc/controller.h"
#include "softmpc/error.h"
#include "softmpc/model.h"
#include "softmpc/network.h"
#include "softmpc/planner.h"
#include "softmpc/rules.h"
#include "softmpc/runner.h"
#include "softmpc/thread_pool.h"
#include "softmpc/types.h"
